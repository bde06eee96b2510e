"""What a constructor may change for the whole process, put back as it was."""

from __future__ import annotations

import gc
import random
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

BUILDING = threading.RLock()
"""Random generators and torch's defaults belong to the process, so one module is built at a time."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector, which would walk all modules again and again while thousands are made."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def preserved() -> Iterator[None]:
    """Undo what happens inside to the random generators, the default dtype and device and the gradient mode."""
    with BUILDING, uncollected(), ExitStack() as stack:
        stack.callback(restore, state())
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        stack.callback(_restore_device, torch.get_default_device())
        stack.callback(torch.set_grad_enabled, torch.is_grad_enabled())
        stack.enter_context(torch.inference_mode(False))  # what is built inside of it can never be trained
        yield


def state() -> dict[str, Any]:
    """Return the state of every random generator that is in use in this process."""
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


def fingerprint(states: dict[str, Any]) -> bytes:
    """Return bytes that are equal for equal states."""
    texts = [f"{name}:{value!r}".encode() for name, value in states.items() if name not in ("torch", "cuda")]
    tensors = [states["torch"], *states.get("cuda", ())]
    return b"".join([*texts, *(bytes(tensor.tolist()) for tensor in tensors)])


def restore(states: Mapping[str, Any]) -> None:
    """Put random generators back; those of GPUs only where there are as many as there were."""
    torch.set_rng_state(states["torch"])
    random.setstate(states["python"])
    if "numpy" in states and "numpy.random" in sys.modules:
        sys.modules["numpy.random"].set_state(states["numpy"])
    if "cuda" in states and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])


def _restore_device(device: torch.device) -> None:
    if torch.get_default_device() != device:  # setting it costs every later call a little, so not without need
        torch.set_default_device(device)
