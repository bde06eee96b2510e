"""Statistics without torch are those that torch computes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.statistics import PIECE, distance, statistics


def content(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def any_bits(dtype: str, seed: int, count: int = 512) -> torch.Tensor:
    """A tensor of every kind of value that a dtype has: its bytes are drawn, so NaNs and infinities are among them."""
    if dtype == "bool":
        return torch.rand(count, generator=torch.Generator().manual_seed(seed)) > 0.5
    raw = torch.randint(0, 256, (count * ITEM_SIZES[dtype],), generator=torch.Generator().manual_seed(seed))
    return raw.to(torch.uint8).view(getattr(torch, dtype))


def same(one: float | None, other: float) -> bool:
    return one is not None and (math.isclose(one, other, rel_tol=1e-9) or (math.isnan(one) and math.isnan(other)))


@pytest.mark.parametrize("dtype", ITEM_SIZES)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_every_dtype_is_read_as_torch_reads_it(dtype: str, seed: int) -> None:
    tensor = any_bits(dtype, seed)
    found = statistics(content(tensor), dtype)
    values = tensor.to(torch.complex128).abs() if tensor.is_complex() else tensor.to(torch.float64)
    known = values[~values.isnan()]
    finite = known[known.isfinite()]
    assert (found.count, found.nans, found.infinities) == (512, 512 - len(known), len(known) - len(finite))
    assert same(found.minimum, float(known.min())) and same(found.maximum, float(known.max()))
    assert same(found.norm, float(finite.norm())) and sum(found.histogram) == len(finite)


@pytest.mark.parametrize("dtype", ITEM_SIZES)
def test_a_distance_is_what_torch_computes(dtype: str) -> None:
    old, new = any_bits(dtype, 1), any_bits(dtype, 2)
    found = distance((content(old), dtype), (content(new), dtype))
    wide = torch.complex128 if old.is_complex() else torch.float64
    difference = new.to(wide) - old.to(wide)
    assert same(found.norm, float(difference.norm())) and same(found.base, float(old.to(wide).norm()))
    assert same(found.largest, float(difference.abs().max()))


def test_what_is_longer_than_a_piece_is_read_to_its_end() -> None:
    tensor = torch.arange(PIECE // 8 + 3, dtype=torch.float32)
    found = statistics(content(tensor), "float32", bins=2)
    assert found.maximum == PIECE // 8 + 2 and found.count == len(tensor) and sum(found.histogram) == len(tensor)
    assert distance((content(tensor), "float32"), (content(tensor + 1), "float32")).largest == 1


def test_an_empty_tensor_and_one_of_nans_have_no_extremes() -> None:
    assert statistics(b"", "float32").minimum is None
    found = statistics(content(torch.full((3,), math.nan)), "float32")
    assert (found.nans, found.minimum, found.histogram) == (3, None, ())
