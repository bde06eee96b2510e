"""The instructions of pickle, protocols 0 to 5: what each does here, what it is charged, and which are refused."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

from registry.checkpoints.pickles.machine import StackMachine
from registry.checkpoints.pickles.vocabulary import BadPickle, Python2Text, label
from registry.tensors.foreign import Foreign

Instruction = Callable[[StackMachine], object]

LARGEST_INTEGER = 512
"""Bytes; the largest that any writer of checkpoints uses is the magic number, of 10."""

LATEST_PROTOCOL = 5


# Numbers, texts and bytes.


def _constant(value: Any) -> Instruction:
    return lambda machine: machine.push(value)


def _number(layout: str) -> Instruction:
    """A number of fixed size."""
    packed = struct.Struct(layout)
    size, unpack = packed.size, packed.unpack

    def push(machine: StackMachine) -> None:
        machine.stack.append(unpack(machine.read(size))[0])

    return push


def _counted(layout: str, made: Callable[[bytes], Any]) -> Instruction:
    """Something after the number of its bytes."""
    packed = struct.Struct(layout)
    size, unpack = packed.size, packed.unpack

    def push(machine: StackMachine) -> None:
        machine.stack.append(made(machine.read(unpack(machine.read(size))[0])))

    return push


def _signed(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)


def _long4(machine: StackMachine) -> None:
    count = int.from_bytes(machine.read(4), "little")
    if count > LARGEST_INTEGER:
        raise BadPickle(f"an integer of {count} bytes is in the pickle")
    machine.stack.append(_signed(machine.read(count)))


def _integer(digits: bytes, base: int = 0) -> int:
    if len(digits) > 2 * LARGEST_INTEGER:
        raise BadPickle(f"an integer of {len(digits)} digits is in the pickle")
    return int(digits, base)


def _int(machine: StackMachine) -> None:
    line = machine.readline().strip()
    machine.stack.append({b"00": False, b"01": True}[line] if line in (b"00", b"01") else _integer(line))


def _long(machine: StackMachine) -> None:
    machine.stack.append(_integer(machine.readline().strip().removesuffix(b"L")))


def _float(machine: StackMachine) -> None:
    machine.stack.append(float(machine.readline()[:-1]))


def _python2_text(raw: bytes) -> str | bytes:
    """Decode a string of Python 2, which may be text or the bytes of an array."""
    try:
        text = Python2Text(raw.decode())
    except UnicodeDecodeError:
        return raw
    if raw.isascii():
        return str(text)
    text.raw = raw
    return text


_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[^x]|)", re.DOTALL)
_ESCAPED = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def _unescaped(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    if escape[:1] == b"x":
        return bytes.fromhex(escape[1:].decode())
    if escape not in _ESCAPED:
        raise BadPickle("a text of the pickle has an escape that Python 2 never writes")
    return _ESCAPED[escape]


def _string(machine: StackMachine) -> None:
    line = machine.readline().rstrip(b"\n")
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"\"'":
        raise BadPickle("a text of the pickle is not quoted")
    machine.stack.append(_python2_text(_ESCAPE.sub(_unescaped, line[1:-1])))


def _unicode(machine: StackMachine) -> None:
    text = str(machine.readline()[:-1], "raw-unicode-escape")
    text.encode()  # lone surrogates: no name and no text that can be stored
    machine.stack.append(text)


# Containers.


def _dict(machine: StackMachine) -> None:
    items, target = machine.pop_mark(), dict[Any, Any]()
    machine.set_items(target, items)
    machine.stack.append(target)


def _frozenset(machine: StackMachine) -> None:
    items = machine.pop_mark()
    machine.stack.append(frozenset(machine.add_all(set(), items)))


def _tuple_of(count: int) -> Instruction:
    def push(machine: StackMachine) -> None:
        items = machine.stack[-count:]
        if len(items) < count:
            raise IndexError("list index out of range")
        machine.stack[-count:] = [tuple(items)]

    return push


def _append(machine: StackMachine) -> None:
    value = machine.stack.pop()
    machine.extend(machine.stack[-1], [value])


def _appends(machine: StackMachine) -> None:
    items = machine.pop_mark()
    machine.extend(machine.stack[-1], items)


def _setitem(machine: StackMachine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.set_items(machine.stack[-1], [key, value])


def _setitems(machine: StackMachine) -> None:
    items = machine.pop_mark()
    machine.set_items(machine.stack[-1], items)


def _additems(machine: StackMachine) -> None:
    items = machine.pop_mark()
    target = machine.stack[-1]
    if isinstance(target, set):
        machine.add_all(target, items)
    else:
        machine.extend(target, items)


# The stack and the memo.


def _pop(machine: StackMachine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


def _line_number(machine: StackMachine) -> int:
    return _integer(machine.readline()[:-1], 10)


def _memoize(machine: StackMachine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _proto(machine: StackMachine) -> None:
    if (protocol := machine.read(1)[0]) > LATEST_PROTOCOL:
        raise ValueError(f"unsupported pickle protocol: {protocol}")


def _frame(machine: StackMachine) -> None:
    """A frame (protocol 4) only groups reads, and all reads are checked against the file."""
    machine.read(8)


# Names and calls: a name gives a name, and a call gives what the vocabulary has for it.


def _name(machine: StackMachine) -> Any:
    module, name = machine.readline()[:-1].decode(), machine.readline()[:-1].decode()
    return machine.lookup(module, name)


def _stack_global(machine: StackMachine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise BadPickle("the name of a class is not a text")
    machine.stack.append(machine.lookup(module, name))


def _reduce(machine: StackMachine) -> None:
    args = machine.stack.pop()
    machine.stack[-1] = machine.construct(machine.stack[-1], args)


def _newobj(machine: StackMachine) -> None:
    args, target = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.construct(target, args))


def _newobj_ex(machine: StackMachine) -> None:
    keywords, args, target = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    value = machine.construct(target, args)
    if isinstance(value, Foreign):
        value.items.append(keywords)
    elif keywords:
        raise BadPickle(f"{label(target)} is called with keyword arguments")
    machine.stack.append(value)


def _inst(machine: StackMachine) -> None:
    target = _name(machine)
    args = machine.pop_mark()
    machine.stack.append(machine.construct(target, tuple(args)))


def _obj(machine: StackMachine) -> None:
    target, *args = machine.pop_mark()
    machine.stack.append(machine.construct(target, tuple(args)))


def _build(machine: StackMachine) -> None:
    state = machine.stack.pop()
    machine.build(machine.stack[-1], state)


TABLE: Mapping[bytes, tuple[int, Instruction]] = {
    pickle.PROTO: (40, _proto),
    pickle.FRAME: (40, _frame),
    pickle.NONE: (40, _constant(None)),
    pickle.NEWTRUE: (40, _constant(True)),
    pickle.NEWFALSE: (40, _constant(False)),
    pickle.INT: (40, _int),
    pickle.BININT: (40, _number("<i")),
    pickle.BININT1: (40, _number("<B")),
    pickle.BININT2: (40, _number("<H")),
    pickle.LONG: (40, _long),
    pickle.LONG1: (40, _counted("<B", _signed)),
    pickle.LONG4: (40, _long4),
    pickle.FLOAT: (40, _float),
    pickle.BINFLOAT: (40, _number(">d")),
    pickle.STRING: (40, _string),
    pickle.BINSTRING: (40, _counted("<I", _python2_text)),
    pickle.SHORT_BINSTRING: (40, _counted("<B", _python2_text)),
    pickle.UNICODE: (40, _unicode),
    pickle.SHORT_BINUNICODE: (40, _counted("<B", bytes.decode)),
    pickle.BINUNICODE: (40, _counted("<I", bytes.decode)),
    pickle.BINUNICODE8: (40, _counted("<Q", bytes.decode)),
    pickle.SHORT_BINBYTES: (40, _counted("<B", bytes)),
    pickle.BINBYTES: (40, _counted("<I", bytes)),
    pickle.BINBYTES8: (40, _counted("<Q", bytes)),
    pickle.BYTEARRAY8: (40, _counted("<Q", bytearray)),
    pickle.EMPTY_TUPLE: (40, _constant(())),
    pickle.TUPLE1: (60, _tuple_of(1)),
    pickle.TUPLE2: (70, _tuple_of(2)),
    pickle.TUPLE3: (80, _tuple_of(3)),
    pickle.TUPLE: (80, lambda machine: machine.push(tuple(machine.pop_mark()))),
    pickle.EMPTY_LIST: (80, lambda machine: machine.push([])),
    pickle.LIST: (80, lambda machine: machine.push(machine.pop_mark())),
    pickle.APPEND: (40, _append),
    pickle.APPENDS: (80, _appends),
    pickle.EMPTY_DICT: (100, lambda machine: machine.push({})),
    pickle.DICT: (240, _dict),
    pickle.SETITEM: (140, _setitem),
    pickle.SETITEMS: (240, _setitems),
    pickle.EMPTY_SET: (240, lambda machine: machine.push(set())),
    pickle.ADDITEMS: (240, _additems),
    pickle.FROZENSET: (240, _frozenset),
    pickle.MARK: (140, StackMachine.mark),
    pickle.POP: (40, _pop),
    pickle.POP_MARK: (40, StackMachine.pop_mark),
    pickle.PUT: (140, lambda machine: machine.remember(_line_number(machine))),
    pickle.BINPUT: (140, lambda machine: machine.remember(machine.read(1)[0])),
    pickle.LONG_BINPUT: (140, lambda machine: machine.remember(int.from_bytes(machine.read(4), "little"))),
    pickle.MEMOIZE: (140, _memoize),
    pickle.GET: (40, lambda machine: machine.recall(_line_number(machine))),
    pickle.BINGET: (40, lambda machine: machine.recall(machine.read(1)[0])),
    pickle.LONG_BINGET: (40, lambda machine: machine.recall(int.from_bytes(machine.read(4), "little"))),
    pickle.GLOBAL: (160, lambda machine: machine.push(_name(machine))),
    pickle.STACK_GLOBAL: (160, _stack_global),
    pickle.BINPERSID: (300, lambda machine: machine.push(machine.stored(machine.stack.pop()))),
    pickle.REDUCE: (40, _reduce),
    pickle.NEWOBJ: (40, _newobj),
    pickle.NEWOBJ_EX: (40, _newobj_ex),
    pickle.INST: (40, _inst),
    pickle.OBJ: (40, _obj),
    pickle.BUILD: (160, _build),
}
"""For each instruction the bytes of objects that it makes, beside those it reads, and what it does."""

REFUSED: Mapping[bytes, str] = {
    **dict.fromkeys(
        (pickle.EXT1, pickle.EXT2, pickle.EXT4),
        "uses an extension code, which only the process that wrote it can resolve",
    ),
    **dict.fromkeys(
        (pickle.NEXT_BUFFER, pickle.READONLY_BUFFER), "refers to buffers beside it (NEXT_BUFFER), which no file holds"
    ),
    pickle.PERSID: "refers to storages by lines of text (PERSID), as torch never does",
    pickle.DUP: "repeats a value without a memo (DUP), as Python never does",
}
"""What pickle has and no checkpoint needs."""
