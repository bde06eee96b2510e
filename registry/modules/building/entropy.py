"""Randomness that the process's generators do not show: of the operating system, or of their state, read and used."""

from __future__ import annotations

import functools
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from registry.modules.building.operators import Watch, operator

_Function = Callable[..., Any]
_Replacement = tuple[Any, str, _Function]

SYSTEM = "the constructor asks the operating system for random numbers"
STATE = "the constructor reads the state of a random generator"
OWN = "the constructor draws from a generator whose seed nobody chose"

_NAMES_THINGS = ("uuid", "tempfile")
"""They ask the operating system for names, which are nothing to compute with."""

_FEWEST_BITS = 32
"""Of a seed that was drawn (53 bits of the operating system); nobody types one."""


def sources(notice: Callable[[str], None]) -> Iterator[_Replacement]:
    """Yield what to put in the place of the functions that lead there: the same, and calls ``notice`` with a reason.

    All of Python's and numpy's draws from the operating system pass ``os.urandom``, or ``seed()`` without a number.
    """
    for owner, name in ((os, "urandom"), (os, "getrandom"), (random, "_urandom")):
        if hasattr(owner, name):
            yield owner, name, _noticing(getattr(owner, name), SYSTEM, notice, lambda *args: True)
    seeded: Callable[..., bool] = lambda self, a=None, *rest, **kwargs: a is None  # noqa: E731
    yield random.Random, "seed", _noticing(random.Random.seed, SYSTEM, notice, seeded)
    read = [(torch, "get_rng_state"), (torch, "initial_seed"), (random, "getstate")]
    read += [(torch.random, name) for name in ("get_rng_state", "initial_seed")]
    if "numpy.random" in sys.modules:
        read.append((sys.modules["numpy.random"], "get_state"))
    for owner, name in read:
        yield owner, name, _noticing(getattr(owner, name), STATE, notice, lambda *args, **kwargs: True)


def is_the_default(generator: torch.Generator) -> bool:
    """Whether a generator is the process's own; the dispatcher hands on another object for the same one."""
    return bool(generator._cdata == torch.default_generator._cdata)  # type: ignore[attr-defined]


def is_unrepeatable(generator: torch.Generator) -> bool:
    """Whether the operating system, or the process's own generator, seems to have seeded a generator of torch."""
    seed = generator.initial_seed()
    if seed == torch.default_generator.initial_seed():
        return True
    return seed >> _FEWEST_BITS != 0 and seed != torch.Generator().initial_seed()


@contextmanager
def replaced(replacements: Sequence[_Replacement]) -> Iterator[None]:
    """Have functions in the places of others. Not to be entered by two threads at once."""
    before: list[tuple[Any, str, Any]] = [(owner, name, vars(owner).get(name)) for owner, name, _ in replacements]
    try:
        for owner, name, function in replacements:
            setattr(owner, name, function)
        yield
    finally:
        for owner, name, function in before:
            if function is None:
                delattr(owner, name)
            else:
                setattr(owner, name, function)


@contextmanager
def noticed() -> Iterator[list[str]]:
    """Give the list of what this thread asks the operating system for inside."""
    thread = threading.get_ident()
    reasons: list[str] = []

    def notice(reason: str) -> None:
        if threading.get_ident() == thread and reason is not STATE:  # which stands elsewhere in the next construction
            reasons.append(reason)

    with replaced(list(sources(notice))), _OwnGenerators(reasons):
        yield reasons


class _OwnGenerators(Watch):
    """Notes draws from generators of torch that the operating system seeded."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__()
        self._reasons = reasons

    def seen(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if operator(func).draws:
            given = [v for v in (*args, *kwargs.values()) if isinstance(v, torch.Generator)]
            if any(not is_the_default(g) and is_unrepeatable(g) for g in given):
                self._reasons.append(OWN)
        return func(*args, **kwargs)


def _noticing(
    ordinary: _Function, reason: str, notice: Callable[[str], None], matters: Callable[..., bool]
) -> _Function:
    @functools.wraps(ordinary)
    def source(*args: Any, **kwargs: Any) -> Any:
        if matters(*args, **kwargs) and not _makes_a_name():
            notice(reason)
        return ordinary(*args, **kwargs)

    return source


def _makes_a_name() -> bool:
    frame = sys._getframe(2)
    for _ in range(3):
        if frame.f_globals.get("__name__") in _NAMES_THINGS:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
