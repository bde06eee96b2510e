"""What stands beside the weights comes back with its type and its bits, or the push refuses it with a sentence."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import ipaddress
import json
import pathlib
import struct
import types
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from constructed import Scaled
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as of_numpy
from torch import nn

import registry
from registry import errors
from registry.tensors.decoding import decode
from registry.tensors.encoding import encode

Point = collections.namedtuple("Point", "x y")


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.StrEnum):
    FAST = "fast"


class Mask(enum.Flag):
    A = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    width: int = 3


class Holder:
    """Has what a tensor of a file has, and is none."""

    spec = "a"
    buffer = "b"


class Own(torch.Tensor):
    pass


class OwnArray(numpy.ndarray):
    pass


class Unreadable:
    def __str__(self) -> str:
        raise RuntimeError("never asked")

    __repr__ = __str__


def namespace(*keys: Any) -> argparse.Namespace:
    made = argparse.Namespace()
    vars(made).update(dict.fromkeys(keys, 1))
    return made


def nan(bits: str) -> float:
    return struct.unpack(">d", bytes.fromhex(bits))[0]


def loop() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


def with_metadata() -> dict[str, Any]:
    return nn.BatchNorm1d(2).state_dict()


CODES = ["?", "b", "h", "i", "l", "q", "B", "H", "I", "L", "Q", "e", "f", "d", "g", "F", "D", "G"]

EXACT: dict[str, Any] = {
    **{f"numpy.{code}": numpy.dtype(code).type(1) for code in CODES if code not in "gGqQ"},
    "numpy.str_": numpy.str_("a\0é"), "numpy.empty": numpy.str_(""), "numpy.bytes_": numpy.bytes_(b"a\xff"),
    "numpy.nan": numpy.array(0x7FC00001, "u4").view("f4")[()],
    "dtype": numpy.dtype("float32"), "dtype.big": numpy.dtype(">f8"), "dtype.text": numpy.dtype("<U7"),
    "array.big": numpy.arange(4, dtype=">f4"), "array.big.complex": numpy.array([[1 + 2j]], ">c8"),
    "array.big.int": numpy.arange(6, dtype=">i8").reshape(2, 3).T, "array.none": numpy.zeros((0, 3), ">u2"),
    "array.single": numpy.array(2.5), "array.flag": numpy.array([True]),
    "tensor.grad": torch.ones(2, requires_grad=True), "tensor.none": torch.zeros(0, 2, requires_grad=True),
    "parameter": nn.Parameter(torch.ones(2)), "parameter.fixed": nn.Parameter(torch.ones(2), requires_grad=False),
    "tensor": torch.ones(2, dtype=torch.bfloat16),
    "torch.dtype": torch.float16, "torch.device": torch.device("cuda:1"), "torch.Size": torch.Size([2, 0]),
    "range": range(1, 9, 2), "slice": slice(None, 3), "complex": complex(-0.0, float("inf")), "bytes": b"\0\xff",
    "bytearray": bytearray(b"a"), "set": {1, "a"}, "frozenset": frozenset({(1, 2)}), "odict": OrderedDict(b=1, a=2),
    "defaultdict": defaultdict(list, a=[1]), "counter": Counter("aab"), "path": pathlib.Path("/a//b/../c"),
    "namespace": argparse.Namespace(a=(1,)), "namespace.int": namespace(1, "a"), "simple": types.SimpleNamespace(a=1),
    "order": {"b": 1, "a": 2}, "keys": {1: "a", None: 2, (1, "a"): 3, 1.5: 4, b"a": 5, "$": 6},
    "nan.payload": nan("fff8000000000001"), "nan": float("nan"), "zero": -0.0, "large": 1 << 300,
}  # fmt: skip
"""Kept by every way into the registry."""

KEPT_OR_REFUSED: dict[str, Any] = {
    "state": with_metadata(),
    **{f"numpy.{code}": numpy.dtype(code).type(1) for code in "gGqQ"},
    "datetime64": numpy.datetime64("2020-01-02", "ns"), "datetime64.none": numpy.datetime64("NaT"),
    "timedelta64": numpy.timedelta64(3, "s"), "void": numpy.void(b"ab"),
    "record": numpy.array([(1, 2.0)], "i4,f4")[0], "records": numpy.array([(1, 2.0)], "i4,f4"),
    "dtype.record": numpy.dtype("i4,f4"), "dtype.moment": numpy.dtype("M8[ns]"), "dtype.object": numpy.dtype("O"),
    "array.text": numpy.array(["a", "bcd"]), "array.bytes": numpy.array([b"a", b"b\0c"]),
    "array.moment": numpy.array(["2020-01-01"], "M8[D]"), "array.complex": numpy.array([1j]),
    "array.long": numpy.ones(2, "g"), "array.object": numpy.array([{}, 1]), "array.own": numpy.ones(2).view(OwnArray),
    "array.column": numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
    "matrix": numpy.matrix([[1]]), "masked": numpy.ma.masked_array([1, 2], [False, True]), "type": numpy.float32,
    "generator": numpy.random.default_rng(0), "random": numpy.random.RandomState(0), "ufunc": numpy.add,
    "timedelta": datetime.timedelta(1, 2, 3), "date": datetime.date(2020, 1, 2), "time": datetime.time(1, 2),
    "datetime": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC), "zone": datetime.UTC,
    "decimal": decimal.Decimal("1.50"), "fraction": fractions.Fraction(1, 3), "uuid": uuid.UUID(int=7),
    "pure": pathlib.PurePosixPath("a"), "windows": pathlib.PureWindowsPath("a"), "deque": deque([1], 3),
    "address": ipaddress.ip_address("::1"), "enum": Color.RED, "int enum": Level.LOW, "text enum": Mode.FAST,
    "flag": Mask.A, "namedtuple": Point(1, 2), "dataclass": Settings(), "holder": Holder(), "lambda": lambda: 1,
    "class": Settings, "function": torch.relu, "module": nn.Linear(1, 1), "chain": collections.ChainMap({1: 2}),
    "proxy": types.MappingProxyType({1: 2}), "user dict": collections.UserDict(a=1), "file": io.BytesIO(b"a"),
    "ellipsis": ..., "unknown": NotImplemented, "array": __import__("array").array("i", [1]), "object": object(),
    "memory": memoryview(b"a"), "keys view": {1: 2}.keys(), "loop": loop(),
    "surrogate": "\ud800", "surrogate key": {"\ud800": 1}, "surrogate path": pathlib.Path("\udcff"), "huge": 1 << 9999,
    "list of own": type("Own", (list,), {})([1]), "dict of own": type("Own", (dict,), {})(a=1),
    "set of own": type("Own", (set,), {})([1]), "text of own": type("Own", (str,), {})("a"),
    "float of own": type("Own", (float,), {})(1), "defaultdict": defaultdict(lambda: 1, a=1),
    "key enum": {Mode.FAST: 1}, "key int enum": {Level.LOW: 1}, "key tuple": {Point(1, 2): 1}, "key": {Color.RED: 1},
    "key scalar": {numpy.float32(0.1): 1, numpy.int64(3): 2}, "key text": {numpy.str_("a"): 1},
    "key flag": {numpy.bool_(True): 1}, "key complex": {1j: 1}, "key path": {pathlib.Path("a"): 1},
    "key scalars": {(numpy.int64(1), numpy.float64(2)): 1}, "key unreadable": {Unreadable(): 1},
    "key tensor": {torch.ones(1): 1}, "key dtype": {torch.float32: 1}, "key numpy dtype": {numpy.dtype("f4"): 1},
    "unreadable": Unreadable(), "own tensor": torch.ones(1).as_subclass(Own), "sparse": torch.ones(2).to_sparse(),
    "meta": torch.ones(2, device="meta"), "double": torch.ones(1, dtype=torch.complex128),
    "masked tensor": torch.masked.masked_tensor(torch.ones(2), torch.tensor([True, False])),
    "strided": torch.arange(4.0)[::4], "negated": torch.tensor([1 + 2j]).conj().imag,
    "view": torch.arange(6.0).reshape(2, 3).t(), "expanded": torch.ones(1, 2).expand(3, 2),
    "lazy": nn.UninitializedParameter(), "buffer": nn.Buffer(torch.ones(1)),
    "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "conj": torch.tensor([1j]).conj(),
    "nested": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), "fixed": torch.finfo(torch.float32),
    "torch generator": torch.Generator(), "format": torch.channels_last, "layout": torch.strided,
    "storage": torch.ones(1).untyped_storage(), "graph": torch.ones(2, requires_grad=True) * 2,
    "scheme": torch.per_tensor_affine, "event": torch.Size, "slice of scalars": slice(numpy.int64(1), 2.5, "a"),
}  # fmt: skip
"""Kept exactly or refused."""

VALUES = {**KEPT_OR_REFUSED, **EXACT}


class Extra(nn.Module):
    """A module whose extra state is any value."""

    def __init__(self, value: Any = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        object.__setattr__(self, "value", value)  # a parameter would be one of the module's own

    def get_extra_state(self) -> Any:
        return self.value

    def set_extra_state(self, state: Any) -> None:
        object.__setattr__(self, "value", state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def alike(found: Any, value: Any) -> bool:
    """Whether two values are of one type and have the same bits, all through."""
    if type(found) is not type(value):
        return False
    if isinstance(value, torch.Tensor):
        is_same = found.dtype == value.dtype and found.shape == value.shape
        return is_same and found.requires_grad == value.requires_grad and raw(found) == raw(value)
    if isinstance(value, numpy.ndarray):
        return (found.dtype, found.shape, found.tobytes()) == (value.dtype, value.shape, value.tobytes())
    if isinstance(value, numpy.generic):
        return (found.dtype, found.tobytes()) == (value.dtype, value.tobytes()) and str(found) == str(value)
    if isinstance(value, float):
        return struct.pack(">d", found) == struct.pack(">d", value)
    if isinstance(value, complex):
        return alike(found.real, value.real) and alike(found.imag, value.imag)
    if isinstance(value, dict):
        own = not isinstance(value, OrderedDict) or alike(vars(found), vars(value))
        return own and alike(list(found), list(value)) and alike([*found.values()], [*value.values()])
    if isinstance(value, (list, tuple)):
        return len(found) == len(value) and all(map(alike, found, value))
    if isinstance(value, (argparse.Namespace, types.SimpleNamespace)):
        return alike(vars(found), vars(value))
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, found)) == sorted(map(repr, value))
    return bool(found == value)


def raw(tensor: torch.Tensor) -> bytes:
    plain = torch.cat([tensor.detach().resolve_conj().resolve_neg().reshape(-1)])
    return plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def live(hub: registry.Registry, value: Any, path: Path) -> Any:
    hub.push(Extra(value), path.stem)
    return hub.load(path.stem, model=Extra()).value


def of_a_file(hub: registry.Registry, value: Any, path: Path) -> Any:
    torch.save(Extra(value).state_dict(), path)
    hub.push(path, path.stem)
    return hub.load(path.stem, model=Extra()).value


def of_a_dict(hub: registry.Registry, value: Any, path: Path) -> Any:
    hub.push(Extra(value).state_dict(), path.stem)
    return hub.load(path.stem, model=Extra()).value


def as_argument(hub: registry.Registry, value: Any, path: Path) -> Any:
    return hub.push(Scaled(), path.stem, model=Scaled, init={"value": value}).init["value"]


def as_argument_of_a_file(hub: registry.Registry, value: Any, path: Path) -> Any:
    torch.save({"state_dict": Scaled().state_dict(), "hyper_parameters": {"value": value}}, path)
    return hub.push(path, path.stem, model=Scaled, init_from_file=True).init["value"]


def read_by_torch(value: Any) -> Any:
    """Return a value as torch reads it from a file, in which a long long is a plain one; None if none can hold it."""
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
    except Exception:  # whatever its class raises
        return None
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> registry.Registry:
    return registry.Registry(tmp_path_factory.mktemp("home") / "home")


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_as_it_went_in_or_is_refused(shared: registry.Registry, tmp_path: Path, name: str) -> None:
    value = {"deep": [VALUES[name]]}
    read = read_by_torch(value)
    for way in (live, of_a_dict, as_argument, of_a_file, as_argument_of_a_file):
        is_read = way in (of_a_file, as_argument_of_a_file)
        if is_read and read is None:
            continue
        try:
            found = way(shared, value, tmp_path / f"{way.__name__}-{list(VALUES).index(name)}.pth")
        except errors.RegistryError as refusal:
            assert name not in EXACT, (way, refusal)
        else:
            assert alike(found, value) or (is_read and alike(found, read)), (way, found)


@pytest.mark.parametrize("name", [name for name, value in VALUES.items() if isinstance(value, torch.Tensor)])
def test_an_extra_state_that_is_a_tensor_comes_back_as_it_went_in(
    shared: registry.Registry, tmp_path: Path, name: str
) -> None:
    value = VALUES[name]
    for way in (live, of_a_dict, of_a_file):
        path = tmp_path / f"root-{way.__name__}-{list(VALUES).index(name)}.pth"
        if way is of_a_file and read_by_torch(value) is None:
            continue
        try:
            found = way(shared, value, path)
        except errors.RegistryError as refusal:
            assert name not in EXACT, (way, refusal)
        else:
            assert alike(found, value), (way, found)
            assert shared.check(Extra(value), path.stem).is_equal
            assert not shared.check(Extra(torch.ones(9)), path.stem).is_equal


def test_a_weight_of_one_element_may_have_any_stride(shared: registry.Registry, tmp_path: Path) -> None:
    state = {"a": torch.arange(4.0)[3::4], "b": torch.ones(4, 0).t(), "c": torch.arange(6.0).as_strided((1, 1), (5, 3))}
    torch.save(state, tmp_path / "odd.pth")
    pushed = shared.push(state, "odd"), shared.push(tmp_path / "odd.pth", "odd")
    assert pushed[0].version == pushed[1].version
    assert all(torch.equal(found, state[name]) for name, found in shared.state_dict("odd").items())


def test_a_lazy_conjugate_or_negative_is_another_tensor_than_the_one_whose_memory_it_sees(
    shared: registry.Registry, tmp_path: Path
) -> None:
    values, numbers = torch.tensor([1 + 2j, 3 + 4j]), torch.tensor([1.0, 2])
    state = {"a": values, "b": values.conj(), "x": numbers, "y": torch._neg_view(numbers)}
    torch.save(state, tmp_path / "lazy.pth")
    pushed = shared.push(state, "lazy"), shared.push(tmp_path / "lazy.pth", "lazy")
    assert pushed[0].version == pushed[1].version
    assert all(torch.equal(found, state[name]) for name, found in shared.state_dict("lazy").items())


def test_metadata_of_a_module_comes_back_with_its_types(shared: registry.Registry, tmp_path: Path) -> None:
    state: Any = Extra().state_dict()
    value = {"version": 1, "scale": numpy.float32(0.1), "anchor": torch.ones(2, requires_grad=True)}
    state._metadata[""] = value
    shared.push(state, "metadata")
    shared.export("metadata", tmp_path / "out.pth")
    assert alike(torch.load(tmp_path / "out.pth", weights_only=False)._metadata[""], value)


exact = st.recursive(
    of_numpy.scalar_dtypes().flatmap(of_numpy.from_dtype) | st.floats() | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=100, deadline=None)
@given(exact)
def test_scalars_of_numpy_of_every_dtype_survive_or_are_refused(value: Any) -> None:
    try:
        raw = json.dumps(encode(value, exact=True), allow_nan=False)
    except errors.UnencodableValue:
        return
    assert alike(decode(json.loads(raw)), value)


@settings(max_examples=100, deadline=None)
@given(of_numpy.arrays(of_numpy.scalar_dtypes() | of_numpy.nested_dtypes(), of_numpy.array_shapes(min_side=0)))
def test_arrays_of_every_dtype_and_byte_order_survive_or_are_refused(value: Any) -> None:
    try:
        raw = json.dumps(encode(value, exact=True))
    except errors.UnencodableValue:
        return
    assert alike(decode(json.loads(raw)), value)


@pytest.mark.parametrize("raw", [
    {"$": "numpy.dtype", "v": "O"}, {"$": "numpy.dtype", "v": "<M8[parsec]"},
    {"$": "array", "dtype": "|O", "shape": [1], "v": "AAAAAAAAAAA="},
    {"$": "array", "dtype": "<U2", "shape": [9], "v": "AAAA"}, {"$": "scalar", "dtype": "<c16", "shape": [], "v": ""},
])  # fmt: skip
def test_what_is_never_written_of_numpy_is_not_decoded(raw: Any) -> None:
    with pytest.raises(ValueError):
        decode(raw)


def test_a_check_compares_extra_states_by_value(shared: registry.Registry) -> None:
    shared.push(Extra(numpy.float32(0.1)), "checked")
    assert shared.check(Extra(numpy.float32(0.1)), "checked").is_equal
    assert not shared.check(Extra(numpy.float32(0.2)), "checked").is_equal
