"""The sandbox reads plain data as Python does, refuses what it does not read, and nothing else comes of a pickle."""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
import random
import struct
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import FIRED, TOKENS, mutated

from registry.checkpoints.pickles.instructions import REFUSED, TABLE
from registry.checkpoints.pickles.torch_vocabulary import CHECKPOINT, TypedStorage
from registry.checkpoints.pickles.unpickling import unpickle
from registry.checkpoints.pickles.vocabulary import BadPickle
from registry.checkpoints.tensors import Storage

NAMES = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "bytearray"): bytearray,
    ("builtins", "complex"): complex,
    ("_codecs", "encode"): str.encode,
    ("collections", "OrderedDict"): OrderedDict,
}
"""What older protocols call for plain data."""

PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, OrderedDict, set, frozenset)


class Reference(pickle._Unpickler):
    """Python's own machine, with plain data alone to call."""

    def find_class(self, module: str, name: str) -> Any:
        renamed = {"__builtin__": "builtins"}.get(module, module)
        if (renamed, name) not in NAMES:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return NAMES[renamed, name]


def parts(value: Any) -> list[object] | None:
    """Types, values and identities of all that is in a value; None where something of it is no plain data."""
    found: list[object] = []
    numbers: dict[int, int] = {}
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) not in PLAIN:
            return None
        if isinstance(item, (list, dict, set, frozenset, bytearray)):
            if id(item) in numbers:
                found.append(("again", numbers[id(item)]))
                continue
            numbers[id(item)] = len(numbers)
        if isinstance(item, dict):
            waiting += [part for pair in item.items() for part in pair]
        elif isinstance(item, (list, tuple)):
            waiting += item
        inside = isinstance(item, (dict, list, tuple))
        unordered = isinstance(item, (set, frozenset))
        found.append((type(item), len(item) if inside else sorted(map(repr, item)) if unordered else repr(item)))
        if len(found) > 10_000:
            return None
    return found


texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | texts | st.binary()
longs = st.integers(-(1 << 63), 1 << 63)
keys = st.none() | st.booleans() | longs | st.floats() | texts | st.binary() | st.tuples(texts, longs)
values = st.recursive(
    scalars | st.sets(keys) | st.frozensets(keys) | st.builds(bytearray, st.binary()),
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner)
        | st.dictionaries(keys, inner).map(OrderedDict) | inner.map(lambda value: [value, value])
    ),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(values, st.integers(0, 5), st.booleans())
def test_plain_data_of_every_protocol_is_read_as_python_reads_it(value: Any, protocol: int, optimized: bool) -> None:
    pickled = pickle.dumps(value, protocol)
    pickled = pickletools.optimize(pickled) if optimized else pickled
    found, end = unpickle(pickled + b"more", CHECKPOINT)
    assert end == len(pickled) and parts(found) == parts(pickle.loads(pickled))


@settings(max_examples=400, deadline=None)
@given(values, st.integers(0, 5), st.integers(0, 1 << 32))
def test_a_mutated_pickle_is_read_as_python_reads_it_or_refused(value: Any, protocol: int, seed: int) -> None:
    pickled = mutated(pickle.dumps(value, protocol), random.Random(seed))
    try:
        read = parts(unpickle(pickled, CHECKPOINT)[0])
    except BadPickle:
        read = None
    assert not FIRED.exists()
    if read is None:
        return
    try:
        # Only what was read: Python's machines allocate whatever a damaged length says.
        expected = parts(Reference(io.BytesIO(pickled)).load())
    except Exception:
        return  # Frames that do not fit, and texts of Python 2 that are not ASCII.
    assert read == expected


def test_values_that_hold_themselves_do_so_after_reading() -> None:
    for protocol in range(6):
        row: list[Any] = []
        row.append((row, {"row": row}))
        found = unpickle(pickle.dumps(row, protocol), CHECKPOINT)[0]
        assert found[0][0] is found and found[0][1]["row"] is found


def line(text: str) -> bytes:
    return text.encode() + b"\n"


ARGUMENTS = (
    *(b"K" + bytes([number]) for number in (0, 1, 3, 200)),
    b"\x8a\x09" + b"\x7f" * 9,
    b"X" + struct.pack("<I", 3) + b"<f4",
    b"X" + struct.pack("<I", 6) + b"latin1",
    b"C\x04abcd",
    b"C\x0a" + bytes(range(10)),
    b"U\x02\xc3\xa4",
    b"(K\x01K\x02t",
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x03tQK\x00K\x03\x85K\x01\x85t",
    b"}X\x08\x00\x00\x00_contentNs",
)
"""Values to call with, each made by some instructions."""

CALLS = tuple(b"c" + line(name.rpartition(".")[0]) + line(name.rpartition(".")[2]) for name in CHECKPOINT.handlers)
CODES = tuple(code for code in TABLE if code not in (pickle.GLOBAL, pickle.INST))


def storage(pid: Any) -> TypedStorage:
    if not isinstance(pid, tuple):
        raise BadPickle("no storage")
    return TypedStorage(Storage("a", "0", 12, None), "float32", 0, 12)


steps = (
    st.sampled_from(ARGUMENTS) | st.sampled_from(CALLS) | st.sampled_from(CODES) | st.sampled_from(TOKENS)
    | st.sampled_from((b"R", b"\x81", b"b", b"t", b"(", b"\x85", b"\x86", b"\x87", b"q\x00", b"h\x00"))
)  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.lists(steps, max_size=40))
def test_any_instructions_give_a_value_or_a_refusal(program: list[bytes]) -> None:
    try:
        unpickle(b"".join(program) + b".", CHECKPOINT, storage)
    except BadPickle as refusal:
        assert str(refusal).strip() and len(str(refusal)) < 2000
    assert not FIRED.exists()


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(CALLS), st.lists(st.sampled_from((*ARGUMENTS, b"N", b"]", b"}", b")", b"\x88")), max_size=8))
def test_any_arguments_of_a_name_that_is_known_give_a_value_or_a_refusal(call: bytes, args: list[bytes]) -> None:
    for end in (b"tR.", b"tR(NK\x01tb.", b"tR}b."):
        with contextlib.suppress(BadPickle):
            unpickle(call + b"(" + b"".join(args) + end, CHECKPOINT, storage)


def test_every_instruction_of_pickle_is_read_or_refused_by_name() -> None:
    codes = {op.code.encode("latin-1") for op in pickletools.opcodes}
    assert {*TABLE, *REFUSED, pickle.STOP} == codes and not {*TABLE} & {*REFUSED}


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x05C\x01a\x98.", "NEXT_BUFFER"),
        (b"N2\x86.", "DUP"),
        (b"Pstorage\n.", "PERSID"),
        (b"\x82\x01.", "extension code"),
        (b"\xff.", "byte 255"),
        (b"\x80\x06N.", "protocol: 6"),
        (b"N\x86.", "contradicts itself"),
        (b"(N000.", "contradicts itself"),
        (b"h\x07.", "Memo value not found at index 7"),
        (b"Np1000000\n.", "memo"),
        (b"S'\\101'\n.", "escape"),
    ],
)
def test_what_no_checkpoint_needs_is_refused_by_name(program: bytes, words: str) -> None:
    with pytest.raises(BadPickle, match=words):
        unpickle(program, CHECKPOINT, storage)


def test_the_sandbox_stands_on_no_machine_of_python() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("registry.checkpoints"):
            assert not [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, pickle._Unpickler)]
