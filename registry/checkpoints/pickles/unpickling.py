"""Pickles, read without running anything in them.

A pickle is a program for a small stack machine, whose only dangerous instructions look up a Python object by its
name and call it. Here a name gives an inert ``Global``, and calling it looks in a table of ours: what is there is a
pure function over plain data, what is not there becomes a ``Foreign``, which records the call and is never built.

It stands on the standard library's machine in Python and not on the one in C: that one grows its memo to any index
that a pickle names, and resolves extension codes past ``find_class``.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from registry.checkpoints.cursor import Cursor
from registry.checkpoints.pickles.vocabulary import (
    BadPickle,
    Buildable,
    Global,
    Machine,
    Python2Text,
    Truncated,
    Vocabulary,
)
from registry.tensors.budget import MANY_NUMBERS, Budget, Spent
from registry.tensors.foreign import Foreign, Record, Size, TorchConstant
from registry.tensors.numpy_values import Scalar

LARGEST_INTEGER = 512
"""Bytes; the largest that any writer of checkpoints uses is the magic number, of 10."""

LONGEST_NAME = 1000
"""Characters of the name of a class; a pickle can repeat one with two bytes."""

_LIGHT = 40
_COSTS = {
    pickle.MARK: 140,
    pickle.EMPTY_SET: 240,
    pickle.FROZENSET: 240,
    pickle.EMPTY_DICT: 100,
    pickle.DICT: 240,
    pickle.EMPTY_LIST: 80,
    pickle.LIST: 80,
    pickle.TUPLE: 80,
    pickle.TUPLE1: 60,
    pickle.TUPLE2: 70,
    pickle.TUPLE3: 80,
    pickle.PUT: 140,
    pickle.BINPUT: 140,
    pickle.LONG_BINPUT: 140,
    pickle.MEMOIZE: 140,
    pickle.SETITEM: 140,
    pickle.APPENDS: 80,
    pickle.SETITEMS: 240,
    pickle.ADDITEMS: 240,
    pickle.GLOBAL: 160,
    pickle.STACK_GLOBAL: 160,
    pickle.REDUCE: 400,
    pickle.NEWOBJ: 400,
    pickle.NEWOBJ_EX: 400,
    pickle.INST: 400,
    pickle.OBJ: 400,
    pickle.BUILD: 160,
    pickle.PERSID: 300,
    pickle.BINPERSID: 300,
}
_COST_OF = [next((c for op, c in _COSTS.items() if op[0] == code), _LIGHT) for code in range(256)]

_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules of Python 2."""


def unpickle(
    content: bytes,
    vocabulary: Vocabulary,
    persistent: Callable[[Any], Any] | None = None,
    position: int = 0,
    budget: Budget | None = None,
) -> tuple[Any, int]:
    """Read one pickle that begins at ``position``; return its value and where it ends.

    ``persistent`` gives what the format keeps outside of the pickle (storages); ``budget`` is for what several
    pickles may become together, by default one for the content.

    Raises:
        BadPickle: it is no pickle, or asks for what no checkpoint asks for.
    """
    cursor = Cursor(content, position)
    try:
        value = _Unpickler(cursor, vocabulary, persistent, budget or Budget(len(content) - position)).load()
    except BadPickle:
        raise
    except Spent as spent:
        raise BadPickle(f"the pickle is a bomb: {spent}") from None
    except (ValueError, TypeError, LookupError, AttributeError, EOFError, OverflowError, AssertionError) as error:
        raise BadPickle(f"the pickle contradicts itself ({type(error).__name__}: {str(error)[:80]})") from error
    except (struct.error, pickle.UnpicklingError, RecursionError) as error:
        raise BadPickle(f"the pickle contradicts itself ({str(error)[:80]})") from error
    return value, cursor.position


_Base: Any = pickle._Unpickler


class _Unpickler(_Base, Machine):  # type: ignore[misc]
    """The standard library's machine with every instruction replaced that looks up, calls or fills an object."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_Base.dispatch)

    def __init__(
        self, cursor: Cursor, vocabulary: Vocabulary, persistent: Callable[[Any], Any] | None, budget: Budget
    ) -> None:
        super().__init__(cursor)
        self.vocabulary = vocabulary
        self.persistent = persistent
        self.budget = budget
        self.numbers_left = MANY_NUMBERS
        self.left_out = Foreign(f"a table of more than {MANY_NUMBERS} numbers far apart")
        self.cursor = cursor

    def load(self) -> Any:
        # Frames (protocol 4) only group reads, so they are skipped and all reads are checked against the file.
        cursor, content = self.cursor, self.cursor.content
        self.read = cursor.read
        self.readline = cursor.readline
        self.metastack: list[list[Any]] = []
        self.stack: list[Any] = []
        self.append = self.stack.append
        dispatch, costs, budget = self.dispatch, _COST_OF, self.budget
        try:
            while True:
                if cursor.position >= cursor.size:
                    raise Truncated("it ends in the middle of the pickle")
                code = content[cursor.position]
                cursor.position += 1
                budget.left -= costs[code]
                if budget.left < 0:
                    raise Spent(budget.sentence)
                dispatch[code](self)
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            return stop.value

    def charge(self, nbytes: int) -> None:
        self.budget.charge(nbytes)

    def find_class(self, module: str, name: str) -> Any:
        if len(module) + len(name) > LONGEST_NAME:
            raise BadPickle(f"the name of a class has {len(module) + len(name)} characters")
        module = _RENAMED.get(module, module)
        if module.startswith("numpy._core"):
            module = "numpy.core" + module.removeprefix("numpy._core")
        token = Global(module, name)
        return self.vocabulary.constants.get(str(token), token)

    def persistent_load(self, pid: Any) -> Any:
        if self.persistent is None:
            raise BadPickle("the pickle refers to storages where there are none")
        return self.persistent(pid)

    def construct(self, target: Any, args: tuple[Any, ...]) -> Any:
        if type(args) is not tuple and not isinstance(args, Size):
            raise BadPickle("the arguments of a call are no tuple")
        if isinstance(target, Global):
            name = str(target)
            if name in {"copyreg._reconstructor", "copyreg.__newobj__"} and args and args[0] is not target:
                return self.construct(args[0], ())
            handler = self.vocabulary.handlers.get(name)
            return Foreign(name, args) if handler is None else handler(self, args)
        return Foreign(f"a call of {target if isinstance(target, Foreign) else type(target).__name__}", args)

    def put(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        key = self.key(key, len(target))
        target[key] = self.left_out if key is self.left_out else value

    def add_all(self, target: set[Any], items: Iterable[Any]) -> set[Any]:
        for item in items:
            target.add(self.key(item, len(target)))
        return target

    def key(self, key: Any, size: int) -> Any:
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
        if (kind is tuple or kind is Size) and len(key) <= 16:
            if any(type(item) not in (str, int, bool, type(None)) and not isinstance(item, Scalar) for item in key):
                raise BadPickle("a dict has keys that are no plain values")
            if any(type(item) is int and item.bit_length() > 64 for item in key):
                raise BadPickle("a dict has tuples of long integers for keys")
            return key if all(type(item) is str for item in key) else self._counted(key)
        if kind is frozenset and all(type(item) in (str, int) for item in key):
            return Foreign("builtins.frozenset", tuple(key))
        raise BadPickle(f"a dict has keys of type {kind.__name__}")

    def _counted(self, key: Any) -> Any:
        self.numbers_left -= 1
        return key if self.numbers_left >= 0 else self.left_out

    def set_items(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, dict):
            for i in range(0, len(items) - 1, 2):
                self.put(target, items[i], items[i + 1])
        elif isinstance(target, Foreign):
            target.items.extend(items)
        else:
            raise BadPickle(f"items are set on a {type(target).__name__}")

    def extend(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Foreign):
            target.items.extend(items)
        else:
            raise BadPickle(f"items are appended to a {type(target).__name__}")

    def text(self, raw: bytes) -> str | bytes:
        """Decode a string of Python 2, which may be text or the bytes of an array."""
        try:
            text = Python2Text(raw.decode())
        except UnicodeDecodeError:
            return raw
        if raw.isascii():
            return str(text)
        text.raw = raw
        return text

    # Instructions, in the order of their first protocol.

    def load_int(self) -> None:
        line = self.readline().strip()
        self.append({b"00": False, b"01": True}[line] if line in (b"00", b"01") else _integer(line))

    def load_long(self) -> None:
        self.append(_integer(self.readline().strip().removesuffix(b"L")))

    def load_string(self) -> None:
        line = self.readline().rstrip(b"\n")
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"\"'":
            raise BadPickle("a text of the pickle is not quoted")
        self.append(self.text(line[1:-1].decode("unicode_escape").encode("latin-1")))

    def load_binstring(self) -> None:
        self.append(self.text(self.read(struct.unpack("<I", self.read(4))[0])))

    def load_short_binstring(self) -> None:
        self.append(self.text(self.read(self.read(1)[0])))

    def load_unicode(self) -> None:
        text = str(self.readline()[:-1], "raw-unicode-escape")
        text.encode()  # lone surrogates: no name and no text that can be stored
        self.append(text)

    def load_binunicode(self) -> None:
        self.append(str(self.read(struct.unpack("<I", self.read(4))[0]), "utf-8"))

    def load_short_binunicode(self) -> None:
        self.append(str(self.read(self.read(1)[0]), "utf-8"))

    def load_binunicode8(self) -> None:
        self.append(str(self.read(struct.unpack("<Q", self.read(8))[0]), "utf-8"))

    def load_long1(self) -> None:
        self.append(int.from_bytes(self.read(self.read(1)[0]), "little", signed=True))

    def load_long4(self) -> None:
        count = struct.unpack("<I", self.read(4))[0]
        if count > LARGEST_INTEGER:
            raise BadPickle(f"an integer of {count} bytes is in the pickle")
        self.append(int.from_bytes(self.read(count), "little", signed=True))

    def load_bytearray8(self) -> None:
        self.append(bytearray(self.read(struct.unpack("<Q", self.read(8))[0])))

    def load_frame(self) -> None:
        self.read(8)

    def load_readonly_buffer(self) -> None:
        """Nothing here is written to, so nothing has to be protected."""

    def load_extension(self) -> None:
        raise BadPickle("the pickle uses an extension code, which only the process that wrote it can resolve")

    def load_frozenset(self) -> None:
        items = self.pop_mark()  # before self.append is looked up: it changes where that appends to
        self.append(frozenset(self.add_all(set(), items)))

    def load_additems(self) -> None:
        items = self.pop_mark()
        target = self.stack[-1]
        if isinstance(target, set):
            self.add_all(target, items)
        else:
            self.extend(target, items)

    def load_dict(self) -> None:
        items, target = self.pop_mark(), dict[Any, Any]()
        self.set_items(target, items)
        self.append(target)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self.set_items(self.stack[-1], items)

    def load_append(self) -> None:
        value = self.stack.pop()
        self.extend(self.stack[-1], [value])

    def load_appends(self) -> None:
        items = self.pop_mark()
        self.extend(self.stack[-1], items)

    def load_global(self) -> None:
        module, name = self.readline()[:-1].decode(), self.readline()[:-1].decode()
        self.append(self.find_class(module, name))

    def load_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise BadPickle("the name of a class is no text")
        self.append(self.find_class(module, name))

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.construct(self.stack[-1], args)

    def load_newobj(self) -> None:
        args, target = self.stack.pop(), self.stack.pop()
        self.append(self.construct(target, args))

    def load_newobj_ex(self) -> None:
        keywords, args, target = self.stack.pop(), self.stack.pop(), self.stack.pop()
        value = self.construct(target, args)
        if keywords and not isinstance(value, Foreign):
            raise BadPickle(f"{target} is called with keyword arguments")
        if isinstance(value, Foreign):
            value.items.append(keywords)
        self.append(value)

    def load_inst(self) -> None:
        module, name = self.readline()[:-1].decode(), self.readline()[:-1].decode()
        args = self.pop_mark()
        self.append(self.construct(self.find_class(module, name), tuple(args)))

    def load_obj(self) -> None:
        target, *args = self.pop_mark()
        self.append(self.construct(target, tuple(args)))

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Buildable):
            target.build(self, state)
        elif isinstance(target, Foreign):
            target.state = state
        elif isinstance(target, Record) and isinstance(state, dict):
            self.charge(100 * len(state))
            target.update(state)
        elif isinstance(target, OrderedDict) and isinstance(state, dict):
            if "_metadata" in state:
                target._metadata = state["_metadata"]  # type: ignore[attr-defined]
        elif isinstance(target, (list, int, float, str, bytes, tuple, set, Global)) or target is None:
            raise BadPickle(f"a {type(target).__name__} is given a state")
        # A tensor's state is its Python attributes (torch 0.2: whether it needs gradients); they are not kept.

    dispatch.update(
        {
            pickle.INT[0]: load_int,
            pickle.LONG[0]: load_long,
            pickle.STRING[0]: load_string,
            pickle.BINSTRING[0]: load_binstring,
            pickle.SHORT_BINSTRING[0]: load_short_binstring,
            pickle.UNICODE[0]: load_unicode,
            pickle.BINUNICODE[0]: load_binunicode,
            pickle.SHORT_BINUNICODE[0]: load_short_binunicode,
            pickle.BINUNICODE8[0]: load_binunicode8,
            pickle.LONG1[0]: load_long1,
            pickle.LONG4[0]: load_long4,
            pickle.BYTEARRAY8[0]: load_bytearray8,
            pickle.FRAME[0]: load_frame,
            pickle.READONLY_BUFFER[0]: load_readonly_buffer,
            pickle.EXT1[0]: load_extension,
            pickle.EXT2[0]: load_extension,
            pickle.EXT4[0]: load_extension,
            pickle.FROZENSET[0]: load_frozenset,
            pickle.ADDITEMS[0]: load_additems,
            pickle.DICT[0]: load_dict,
            pickle.SETITEM[0]: load_setitem,
            pickle.SETITEMS[0]: load_setitems,
            pickle.APPEND[0]: load_append,
            pickle.APPENDS[0]: load_appends,
            pickle.GLOBAL[0]: load_global,
            pickle.STACK_GLOBAL[0]: load_stack_global,
            pickle.REDUCE[0]: load_reduce,
            pickle.NEWOBJ[0]: load_newobj,
            pickle.NEWOBJ_EX[0]: load_newobj_ex,
            pickle.INST[0]: load_inst,
            pickle.OBJ[0]: load_obj,
            pickle.BUILD[0]: load_build,
        }
    )


def _integer(digits: bytes) -> int:
    if len(digits) > 2 * LARGEST_INTEGER:
        raise BadPickle(f"an integer of {len(digits)} digits is in the pickle")
    return int(digits, 0)
