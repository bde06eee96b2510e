"""What the objects of a training loop hold, to go back to where one of them refuses its state half way."""

from __future__ import annotations

import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

MOST_OBJECTS = 200_000
"""Objects that are looked at; a loop hangs together with far fewer, and a callback may know half of the process."""

_NOT_ENTERED = (
    nn.Module,  # the model has a memory of its own
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
)


class Memory:
    """What some objects, and all that they reach, are now; asked of the objects themselves and not of their class.

    Attributes, dicts, lists, sets and deques get their contents back and stay the objects that they are; tensors and
    arrays their values. The tensors of an optimizer are remembered and not copied: ``Optimizer.load_state_dict``
    puts others in their place. No code of the objects' classes is run.
    """

    def __init__(self, owners: Iterable[Any]) -> None:
        self._undo: list[Callable[[], None]] = []
        self._seen: dict[int, Any] = {}
        """By address, which nobody else may get as long as this lives."""
        left: list[tuple[Any, bool]] = [(owner, False) for owner in owners]
        while left and len(self._seen) < MOST_OBJECTS:
            value, of_optimizer = left.pop()
            if id(value) in self._seen or isinstance(value, (str, bytes, int, float, complex, *_NOT_ENTERED)):
                continue
            if isinstance(value, Dataset) and not isinstance(value, IterableDataset):
                continue  # a loader's: it has no place where it stands, and may fill the memory
            self._seen[id(value)] = value
            inside = of_optimizer or isinstance(value, torch.optim.Optimizer)
            left.extend((part, inside) for part in self._remembered(value, inside))

    def restore(self) -> None:
        """Make every object what it was."""
        for undo in self._undo:
            undo()

    def _remembered(self, value: Any, of_optimizer: bool) -> Iterator[Any]:
        """Remember one object, and yield what it holds."""
        if isinstance(value, torch.Tensor):
            if not of_optimizer and not isinstance(value, nn.Parameter):
                self._remember_values(value, lambda: value.detach().clone(), value.detach().copy_)
            return
        if type(value).__module__ == "numpy" and hasattr(value, "__array_interface__"):
            self._remember_values(value, value.copy, lambda was: value.__setitem__(..., was))
            return
        if isinstance(value, types.MethodType):
            yield value.__self__
        elif isinstance(value, dict):
            yield from self._remember_dict(value)
        elif isinstance(value, list):
            items = list.copy(value)
            self._undo.append(partial(list.__setitem__, value, slice(None), items))
            yield from items
        elif isinstance(value, (set, deque)):
            kind: Any = set if isinstance(value, set) else deque
            members = list(value)
            refill = set.update if kind is set else deque.extend
            self._undo.append(partial(_refill, value, members, kind.clear, refill))
            yield from members
        elif isinstance(value, (tuple, frozenset)):
            yield from value
        attributes = _attributes(value)
        if attributes is not None:
            yield from self._remember_dict(attributes)
        yield from self._remember_slots(value)

    def _remember_dict(self, value: dict[Any, Any]) -> Iterator[Any]:
        kind: Any = OrderedDict if isinstance(value, OrderedDict) else dict
        items = dict(kind.items(value))
        self._undo.append(partial(_refill, value, items, kind.clear, kind.update))
        yield from items.values()

    def _remember_slots(self, value: Any) -> Iterator[Any]:
        for member in _slots(type(value)):
            with suppress(AttributeError):
                held = member.__get__(value)
                self._undo.append(partial(member.__set__, value, held))
                yield held

    def _remember_values(self, value: Any, copied: Callable[[], Any], refill: Callable[[Any], Any]) -> None:
        with suppress(Exception):  # on meta, lazy, of objects: nothing that a state is kept in
            was = copied()
            self._undo.append(partial(_put, refill, was))


def _refill(value: Any, contents: Any, clear: Callable[[Any], Any], refill: Callable[[Any, Any], Any]) -> None:
    clear(value)
    refill(value, contents)


def _put(refill: Callable[[Any], Any], was: Any) -> None:
    with torch.no_grad():
        refill(was)


def _attributes(value: Any) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found if isinstance(found, dict) else None


def _slots(kind: type) -> Iterator[Any]:
    for cls in kind.__mro__:
        yield from (member for member in vars(cls).values() if isinstance(member, types.MemberDescriptorType))
