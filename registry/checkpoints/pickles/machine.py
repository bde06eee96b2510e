"""The machine that a pickle is a program for: a stack with marks, a memo, and what may be done with inert values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from registry.checkpoints.cursor import Cursor
from registry.checkpoints.pickles.vocabulary import BadPickle, Buildable, Global, Machine, Python2Text, Vocabulary
from registry.tensors.budget import MANY_NUMBERS, Budget
from registry.tensors.foreign import Foreign, Record, Size, TorchConstant
from registry.tensors.numpy_values import Scalar

LONGEST_NAME = 1000
"""Characters of the name of a class; a pickle can repeat one with two bytes."""

_CALL = 360
_ARGUMENT = 8
"""Bytes that a call is charged for, and each of its arguments: a handler looks at all of them."""

_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules of Python 2."""

_CALLED = "a call of "

_UNHASHABLE = (list, dict, set, bytearray)
"""No program had one of these for a key."""


class StackMachine(Machine):
    """What the instructions of one pickle work on."""

    def __init__(
        self, cursor: Cursor, vocabulary: Vocabulary, persistent: Callable[[Any], Any] | None, budget: Budget
    ) -> None:
        self.cursor = cursor
        self.read = cursor.read
        self.readline = cursor.readline
        self.stack: list[Any] = []
        """What was pushed after the last mark; nothing reaches below a mark but what takes it away."""
        self.below: list[list[Any]] = []
        """For each mark, what was pushed before it."""
        self.memo: dict[int, Any] = {}
        self.budget = budget
        self._vocabulary = vocabulary
        self._persistent = persistent
        self._numbers_left = MANY_NUMBERS
        self._left_out = Foreign(f"a table of more than {MANY_NUMBERS} numbers far apart")

    def charge(self, nbytes: int) -> None:
        self.budget.charge(nbytes)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """Take away the last mark; return what was pushed after it."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def remember(self, index: int) -> None:
        # Each value that a writer numbers took a byte at least; indexes chosen freely could be made to collide.
        if not 0 <= index <= self.cursor.position:
            raise BadPickle("the pickle numbers a value of its memo higher than it can have values")
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise BadPickle(f"the pickle contradicts itself (Memo value not found at index {index})")
        self.stack.append(self.memo[index])

    def lookup(self, module: str, name: str) -> Any:
        """Return what a name stands for: a constant of ours, or the name alone."""
        if len(module) + len(name) > LONGEST_NAME:
            raise BadPickle(f"the name of a class has {len(module) + len(name)} characters")
        module = _RENAMED.get(module, module)
        if module.startswith("numpy._core"):
            module = "numpy.core" + module.removeprefix("numpy._core")
        token = Global(module, name)
        return self._vocabulary.constants.get(str(token), token)

    def stored(self, pid: Any) -> Any:
        """Return what the format keeps outside of the pickle under this id."""
        if self._persistent is None:
            raise BadPickle("the pickle refers to storages where there are none")
        return self._persistent(pid)

    def construct(self, target: Any, args: tuple[Any, ...]) -> Any:
        if type(args) is not tuple and not isinstance(args, Size):
            raise BadPickle("the arguments of a call are not a tuple")
        self.charge(_CALL + _ARGUMENT * len(args))
        if isinstance(target, Global):
            name = str(target)
            if name in {"copyreg._reconstructor", "copyreg.__newobj__"} and args and args[0] is not target:
                return self.construct(args[0], ())
            handler = self._vocabulary.handlers.get(name)
            return Foreign(name, args) if handler is None else handler(self, args)
        if isinstance(target, Foreign):
            # A call of a call of a call has one name, for it would be longer with each of them.
            return Foreign(target.name if target.name.startswith(_CALLED) else f"{_CALLED}{target}", args)
        return Foreign(f"{_CALLED}{type(target).__name__}", args)

    def build(self, target: Any, state: Any) -> None:
        """Give an object the state that was written of it."""
        if isinstance(target, Buildable):
            target.build(self, state)
        elif isinstance(target, Foreign):
            target.state = state
        elif isinstance(target, Record) and isinstance(state, dict):
            self.charge(100 * len(state))
            target.update(state)
        elif isinstance(target, OrderedDict) and isinstance(state, dict):
            if "_metadata" in state:
                vars(target)["_metadata"] = state["_metadata"]
        elif isinstance(target, (list, int, float, str, bytes, tuple, set, Global)) or target is None:
            raise BadPickle(f"a {type(target).__name__} is given a state")
        # A tensor's state is its Python attributes (torch 0.2: whether it needs gradients); they are not kept.

    def put(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        key = self._key(key, len(target))
        target[key] = self._left_out if key is self._left_out else value

    def set_items(self, target: Any, items: list[Any]) -> None:
        """Set items on a dict, or what stands for one: keys and values by turns."""
        if isinstance(target, dict):
            for i in range(0, len(items) - 1, 2):
                self.put(target, items[i], items[i + 1])
        elif isinstance(target, Foreign):
            target.items.extend(items)
        else:
            raise BadPickle(f"items are set on a {type(target).__name__}")

    def extend(self, target: Any, items: list[Any]) -> None:
        """Append items to a list, or what stands for one."""
        if isinstance(target, (list, Foreign)):
            (target if isinstance(target, list) else target.items).extend(items)
        else:
            raise BadPickle(f"items are appended to a {type(target).__name__}")

    def add_all(self, target: set[Any], items: Iterable[Any]) -> set[Any]:
        for item in items:
            target.add(self._key(item, len(target)))
        return target

    def _key(self, key: Any, size: int) -> Any:
        """Return a dict key or set item that is cheap to hash and cannot be made to collide.

        Numbers far apart can: beyond so many of them, one object stands for all the others.
        """
        kind = type(key)
        if kind is str or key is None or isinstance(key, (bool, bytes, Python2Text, Global, TorchConstant, Foreign)):
            return key
        if kind is int and key.bit_length() <= 64:
            # A table has more places than items, so that numbers which are no larger have a place each.
            return key if 0 <= key <= size + 1000 else self._counted(key)
        if isinstance(key, (float, Scalar)):
            return self._counted(key)
        if (kind is tuple or kind is Size) and len(key) <= 16 and all(map(_is_plain, key)):
            return key if all(type(item) is str for item in key) else self._counted(key)
        if isinstance(key, _UNHASHABLE):
            raise BadPickle(f"a dict has keys of type {kind.__name__}")
        parts = tuple(key) if isinstance(key, (tuple, frozenset)) else ()
        self.charge(_CALL + _ARGUMENT * len(parts))
        return Foreign(f"a key of type {getattr(key, 'kind', kind.__name__)}", parts)

    def _counted(self, key: Any) -> Any:
        self._numbers_left -= 1
        return key if self._numbers_left >= 0 else self._left_out


def _is_plain(part: Any) -> bool:
    """Whether a part of a key is cheap to hash."""
    return (
        (type(part) is int and part.bit_length() <= 64)
        or type(part) in (str, bool, type(None), float)
        or (isinstance(part, Scalar))
    )
