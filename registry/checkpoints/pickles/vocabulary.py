"""What the names in a pickle stand for: tables of pure functions, and what these may ask of the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from registry.tensors.foreign import Foreign, Text, TorchConstant


class BadPickle(Exception):
    """The bytes are no pickle that can be read; the reader of the format words the error."""


class Truncated(BadPickle):
    """The bytes end inside of the pickle."""


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that a pickle names; only its name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def label(value: Any) -> str:
    """Return what to call a value: a text that costs no more, however much the value would unfold to."""
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, (int, float, Global, TorchConstant, Foreign)):
        return str(value)
    return repr(value) if isinstance(value, bytes) and len(value) <= 100 else type(value).__name__


class Machine(Protocol):
    """What a handler may ask of the machine that calls it."""

    def charge(self, nbytes: int) -> None:
        """Count memory that is about to be used."""

    def construct(self, target: Any, args: tuple[Any, ...]) -> Any:
        """Do what calling ``target`` stands for."""

    def put(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        """Set an item, after checking that its key is cheap to hash."""

    def add_all(self, target: set[Any], items: Iterable[Any]) -> set[Any]:
        """Add items to a set and return it, after checking that they are cheap to hash."""


Handler = Callable[[Machine, tuple[Any, ...]], Any]
"""A pure stand-in for one class or function: its arguments to an inert value."""


@dataclass(frozen=True)
class Vocabulary:
    """The names that a pickle may use, and what they stand for here."""

    handlers: Mapping[str, Handler]
    constants: Mapping[str, Any]

    def __or__(self, other: Vocabulary) -> Vocabulary:
        return Vocabulary({**self.handlers, **other.handlers}, {**self.constants, **other.constants})


class Buildable:
    """A value that a pickle fills after it made it (the BUILD instruction)."""

    def build(self, machine: Machine, state: Any) -> None:
        """Take over the state.

        Raises:
            BadPickle: it is of another shape than the class writes.
        """
        raise NotImplementedError


class Python2Text(Text):
    """Text of a Python 2 pickle, which does not say whether it is text or bytes."""

    raw: bytes
