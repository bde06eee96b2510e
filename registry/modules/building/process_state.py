"""What a constructor may change for the whole process, put back as it was."""

from __future__ import annotations

import gc
import importlib
import random
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from blake3 import blake3

from registry.tensors.memory import content

BUILDING = threading.RLock()
"""Random generators and torch's defaults belong to the process, so one module is built at a time."""


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the garbage collector, which would walk all modules again and again while thousands are made."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def preserved() -> Iterator[Mapping[str, Any]]:
    """Undo what happens inside to the random generators, the default dtype and device and the gradient mode.

    Gives where the generators stand.
    """
    with BUILDING:
        before = state()
        try:
            with defaults_preserved():
                yield before
        finally:
            if not stand_at(before):
                restore(before)


@contextmanager
def defaults_preserved() -> Iterator[None]:
    """Undo what happens inside to the default dtype and device and the gradient mode."""
    with BUILDING, gc_paused(), ExitStack() as stack:
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        stack.callback(_restore_device, torch.get_default_device())
        stack.callback(torch.set_grad_enabled, torch.is_grad_enabled())
        stack.enter_context(torch.inference_mode(False))  # what is built inside of it can never be trained
        yield


def state(*, to_come: bool = False) -> dict[str, Any]:
    """Return the state of every random generator that is in use in this process.

    Args:
        to_come: that of numpy, too, which is imported when it is first asked for: after that, nobody could say where
            it stood before it was drawn from.
    """
    if to_come and "numpy" in sys.modules:
        importlib.import_module("numpy.random")
    states: dict[str, Any] = {"torch": torch.get_rng_state(), "python": random.getstate()}
    if "numpy.random" in sys.modules:
        states["numpy"] = sys.modules["numpy.random"].get_state()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def seed(number: int) -> None:
    """Set every random generator that is in use in this process."""
    torch.manual_seed(number)
    random.seed(number)
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed(number)


def elsewhere(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return states in which none of the process's generators stands where these say, the same for the same ones."""
    number = int.from_bytes(blake3(content(states["torch"])).digest(length=4), "big")
    away = {**states, "torch": torch.Generator().manual_seed(number).get_state()}
    away["python"] = random.Random(number).getstate()
    if "numpy" in states:
        away["numpy"] = sys.modules["numpy.random"].RandomState(number).get_state()
    return away


def stand_at(states: Mapping[str, Any]) -> bool:
    """Whether every random generator that is in use now stands where it stood when it was asked for its state."""
    return _plain(state()) == _plain(states)


def restore(states: Mapping[str, Any]) -> None:
    """Put random generators back; those of GPUs only where there are as many as there were."""
    torch.set_rng_state(states["torch"])
    random.setstate(states["python"])
    if "numpy" in states and "numpy.random" in sys.modules:
        sys.modules["numpy.random"].set_state(states["numpy"])
    if "cuda" in states and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])


def _plain(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return states as values that can be compared."""
    return {
        name: [bytes(content(t)) for t in ([value] if isinstance(value, torch.Tensor) else value)]
        if name in ("torch", "cuda")
        else [part.tobytes() if hasattr(part, "tobytes") else part for part in value]
        for name, value in states.items()
    }


def _restore_device(device: torch.device) -> None:
    if torch.get_default_device() != device:  # setting it costs every later call a little, so not without need
        torch.set_default_device(device)
