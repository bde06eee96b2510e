"""A version as one file, whose bytes depend on nothing but what is in it."""

from __future__ import annotations

import torch
from hypothesis import given, strategies as st
from safetensors.torch import load

from registry.loading.plan import ExportPlan, plan
from registry.tensors.manifest import Location, Manifest, StoredTensor
from registry.tensors.spec import TensorSpec

CONTENT = bytes(range(256))
"""The one blob of these tests."""


def manifest(*names: str, ties: tuple[tuple[str, ...], ...] = ()) -> Manifest:
    kinds = [
        TensorSpec("float32", (2,)),
        TensorSpec("float64", ()),
        TensorSpec("bool", (3,)),
        TensorSpec("int64", (0, 2)),
    ]
    stored = {
        name: StoredTensor(kinds[number % 4], f"{number}", Location("blob", 16 * number))
        for number, name in enumerate(names)
    }
    return Manifest(stored, ties)


def written(planned: ExportPlan, begin: int = 0, end: int | None = None) -> bytes:
    pieces = []
    for part in planned.parts(begin, end):
        at = part.content
        piece = at if isinstance(at, bytes) else CONTENT[at.offset : at.offset + part.length]
        assert len(piece) == part.length
        pieces.append(piece)
    return b"".join(pieces)


def test_the_bytes_of_the_file_are_pinned() -> None:
    header = plan(manifest("b", "a", "c", "d", ties=(("b", "a"),))).header
    body = (
        '{"__metadata__":{"format":"pt","ties":"[[\\"a\\",\\"b\\"]]"},'
        '"a":{"dtype":"F64","shape":[],"data_offsets":[0,8]},"d":{"dtype":"I64","shape":[0,2],"data_offsets":[8,8]},'
        '"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},"c":{"dtype":"BOOL","shape":[3],"data_offsets":[16,19]}}'
    )
    assert header == (len(header) - 8).to_bytes(8, "little") + body.encode().ljust(len(header) - 8)
    assert len(header) % 64 == 0


def test_the_order_of_the_state_dict_does_not_matter_and_the_library_reads_it() -> None:
    planned, one = plan(manifest("b", "a")), manifest("b", "a")
    other = Manifest(dict(reversed([*one.tensors.items()])))
    assert written(planned) == written(plan(other)) and planned.size == len(written(planned))
    tensors = load(written(planned))
    assert set(tensors) == {"a", "b"} and tensors["a"].shape == () and tensors["b"].dtype == torch.float32


def test_names_are_those_that_were_asked_for() -> None:
    assert list(load(written(plan(manifest("a"), lambda name: f"module.{name}")))) == ["module.a"]


@given(st.integers(0, 400), st.integers(0, 400))
def test_a_range_is_that_part_of_the_whole(begin: int, end: int) -> None:
    planned = plan(manifest(*"abcdefgh"))
    assert written(planned, begin, end) == written(planned)[begin:end]
