"""Values beside the weights survive as JSON, exactly, and what is no plain data is refused by name."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from collections import OrderedDict

import numpy
import pytest
import torch
from hypothesis import given, settings, strategies as st
from written import saved

from registry.checkpoints.opening import open_checkpoint
from registry.errors import UnencodableValue
from registry.tensors.decoding import decode
from registry.tensors.encoding import encode
from registry.tensors.foreign import Array, Foreign, Size, TorchConstant

numbers = st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)
scalars = st.none() | st.booleans() | numbers | st.text() | st.binary()
keys = st.text() | st.integers() | st.tuples(st.text(), st.integers()) | st.booleans() | st.none()
values = st.recursive(
    scalars | st.sets(st.integers()) | st.frozensets(st.text()),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner)
        | st.dictionaries(st.just("$") | st.text(), inner).map(OrderedDict)
    ),
)  # fmt: skip


def shape_of(value: object) -> object:
    """Types as well as values: True is not 1, and a tuple is no list."""
    if isinstance(value, dict):
        return type(value), [(shape_of(k), shape_of(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [shape_of(item) for item in value]
    return type(value), repr(value) if isinstance(value, (float, complex)) else value


@settings(max_examples=150, deadline=None)
@given(values)
def test_plain_values_survive_exactly(value):
    assert shape_of(decode(json.loads(json.dumps(encode(value), ensure_ascii=False).encode()))) == shape_of(value)


def test_numbers_that_json_lacks_survive():
    for number in (math.nan, math.inf, -math.inf, -0.0, 5e-324, 1 << 8000):
        assert repr(decode(json.loads(json.dumps(encode(number), allow_nan=False)))) == repr(number)


@pytest.mark.parametrize(
    "value", [range(1, 9, 2), slice(None, 3, None), bytearray(b"\0\xff"), torch.Size([2, 3]), torch.float16,
              torch.device("cuda:3"), torch.strided]
)  # fmt: skip
def test_other_plain_values_survive(value):
    found = decode(json.loads(json.dumps(encode(value))))
    assert found == value and type(found) is type(value)


def test_stand_ins_come_back_as_what_they_stand_for():
    assert decode(encode(Size((2, 3)))) == torch.Size([2, 3])
    assert decode(encode(TorchConstant("dtype", "bfloat16"))) is torch.bfloat16
    assert decode(encode(TorchConstant("device", "cuda:1"))) == torch.device("cuda:1")


@pytest.mark.parametrize(
    "tensor", [torch.randn(3, 4).T, torch.tensor(2.5), torch.zeros(0, 3), torch.tensor([True]),
               torch.randn(2).bfloat16(), torch.randn(2, dtype=torch.complex64).conj(),
               torch.nn.Parameter(torch.ones(2))]
)  # fmt: skip
def test_tensors_survive_from_memory_and_from_a_file(tensor, tmp_path):
    sd = {"w": torch.zeros(1), "_extra_state": {"inner": tensor}}
    read = open_checkpoint(saved(tmp_path / "a.pth", sd)).weight_sets[0].values["_extra_state"]["inner"]
    for source in (tensor, read):
        found = decode(json.loads(json.dumps(encode(source))))
        assert torch.equal(found, tensor) and found.dtype == tensor.dtype


def test_arrays_of_numpy_survive_from_memory_and_from_a_file(tmp_path):
    array = numpy.arange(6, dtype=">f8").reshape(2, 3).T
    path = saved(tmp_path / "a.pth", {"w": torch.zeros(1), "mean": array, "acc": numpy.float32(0.5)})
    read = open_checkpoint(path).weight_sets[0].values
    assert isinstance(read["mean"], Array) and encode(numpy.float32(0.5)) == read["acc"] == 0.5
    assert type(decode(encode(read["acc"], exact=True))) is numpy.float32
    for source in (array, read["mean"]):
        assert numpy.array_equal(decode(json.loads(json.dumps(encode(source)))), array)


def loop() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


def doubling() -> list[object]:
    value: list[object] = []
    for _ in range(64):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (io.StringIO(), "_io.StringIO"),
        (Foreign("pkg.Tokenizer"), "<pkg.Tokenizer, not read>"),
        (loop(), "holds itself"),
        (doubling(), "parts"),
        ("\ud800", "Unicode"),
        (1 << 100_000, "8192 bits"),
        (torch.zeros(2, dtype=torch.complex128), "complex128"),
        (torch.zeros(5_000_000), "too large"),
        (numpy.array([{}]), "numpy"),
        (print, "builtin"),
    ],
    ids=range(10),
)
def test_what_is_no_plain_data_is_refused_with_its_place(value, words):
    with pytest.raises(UnencodableValue, match=r"^extra/a/1") as refusal:
        encode({"a": [1, value]}, "extra")
    assert words in str(refusal.value)


@pytest.mark.parametrize("raw", [{"$": "eval", "v": "1"}, {"$": "dtype", "v": "load"},
                                 {"$": "tensor", "dtype": "load", "shape": [], "v": ""},
                                 {"$": "tensor", "dtype": "float32", "shape": [9], "v": ""}])  # fmt: skip
def test_what_encode_never_writes_is_not_decoded(raw):
    with pytest.raises(ValueError):
        decode(raw)


def test_decoding_plain_values_needs_no_torch():
    program = (
        "import sys; from registry.tensors.decoding import decode; from registry.tensors.encoding import encode\n"
        "decode(encode({'a': [1, (2.5, None)], 3: {4}}))\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
