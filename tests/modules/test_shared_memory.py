"""Values that cannot all stand in a module's memory are refused before anything is written; those that can, stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from registry import errors
from registry.modules.building.build import build
from registry.modules.building.specification import ModelSpec
from registry.modules.fitting.fit import fit
from registry.modules.fitting.memory import may_overlap_itself, put


class Holder(nn.Module):
    """Registers tensors as they are given."""

    t0: torch.Tensor
    t1: torch.Tensor

    def __init__(self, *tensors: torch.Tensor, buffers: bool = False) -> None:
        super().__init__()
        for number, tensor in enumerate(tensors):
            if buffers:
                self.register_buffer(f"t{number}", tensor)
            else:
                self.register_parameter(f"t{number}", nn.Parameter(tensor))


def halves(size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    base = torch.zeros(size)
    return base[: size - 2], base[2:]


SELF_OVERLAPPING: dict[str, Callable[[], torch.Tensor]] = {
    "expand": lambda: torch.zeros(1).expand(4),
    "expand a row": lambda: torch.zeros(3, 1).expand(3, 4),
    "as_strided": lambda: torch.zeros(5).as_strided((3, 3), (1, 1)),
    "unfold": lambda: torch.zeros(6).unfold(0, 3, 1),
    "unfold with a gap": lambda: torch.zeros(9).unfold(0, 3, 2),
    "three dimensions": lambda: torch.zeros(20).as_strided((2, 3, 4), (1, 2, 3)),
}


@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize("way", SELF_OVERLAPPING)
def test_different_values_for_one_place_are_refused_before_the_copy(way: str, buffers: bool) -> None:
    module = nn.ModuleList([Holder(torch.zeros(2)), Holder(SELF_OVERLAPPING[way](), buffers=buffers)])
    first, second = (
        module[0].get_parameter("t0"),
        module[1].get_buffer("t0") if buffers else module[1].get_parameter("t0"),
    )
    shape, version = second.shape, first._version

    with pytest.raises(errors.UntouchedTensor, match=r"1\.t0"):
        fit(module, {"0.t0": torch.ones(2), "1.t0": torch.arange(float(shape.numel())).reshape(shape)})

    assert first._version == version and not first.any() and not second.any()


@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize("way", SELF_OVERLAPPING)
def test_values_that_agree_wherever_places_are_one_are_loaded_and_the_memory_stays(way: str, buffers: bool) -> None:
    source, module = SELF_OVERLAPPING[way](), Holder(SELF_OVERLAPPING[way](), buffers=buffers)
    storage = source.untyped_storage()
    torch.empty(0).set_(storage).copy_(torch.arange(1.0, 1 + len(storage) / 4))
    strides, address = module.t0.stride(), module.t0.data_ptr()

    fit(module, {"t0": source.clone(memory_format=torch.contiguous_format)})

    assert torch.equal(module.t0.detach(), source)
    assert (module.t0.stride(), module.t0.data_ptr()) == (strides, address)


@pytest.mark.parametrize("buffers", [False, True])
def test_tensors_that_overlap_in_part_take_what_agrees_and_refuse_what_does_not(buffers: bool) -> None:
    module = Holder(*halves(), buffers=buffers)

    with pytest.raises(errors.UntouchedTensor, match="share memory"):
        fit(module, {"t0": torch.ones(4), "t1": torch.zeros(4)})
    assert not module.t0.any() and not module.t1.any()

    fit(module, {"t0": torch.tensor([1.0, 2, 3, 4]), "t1": torch.tensor([3.0, 4, 5, 6])})
    assert module.t0.tolist() == [1, 2, 3, 4] and module.t1.tolist() == [3, 4, 5, 6]


def test_two_arrays_over_one_memory_overlap_as_two_views_do() -> None:
    base = numpy.zeros(6, numpy.float32)
    module = Holder(torch.from_numpy(base[:4]), torch.from_numpy(base[2:]))

    with pytest.raises(errors.UntouchedTensor, match="share memory"):
        fit(module, {"t0": torch.ones(4), "t1": torch.zeros(4)})
    assert not base.any()

    fit(module, {"t0": torch.tensor([1.0, 2, 3, 4]), "t1": torch.tensor([3.0, 4, 5, 6])})
    assert base.tolist() == [1, 2, 3, 4, 5, 6]


def test_a_lazy_conjugate_takes_the_conjugates_of_what_its_tensor_takes() -> None:
    base, values = torch.zeros(2, dtype=torch.complex64), torch.tensor([1 + 2j, 3 + 4j])
    module = Holder(base, base.conj(), buffers=True)

    with pytest.raises(errors.UntouchedTensor, match="share memory"):
        fit(module, {"t0": values, "t1": values})
    fit(module, {"t0": values, "t1": values.conj().resolve_conj()})
    assert torch.equal(module.t0, values) and torch.equal(module.t1, values.conj())


@pytest.mark.parametrize("cast", [None, torch.float64])
@pytest.mark.parametrize("kind", ["sparse", "given up"])
def test_what_cannot_be_written_to_is_refused_before_anything_is(kind: str, cast: torch.dtype | None) -> None:
    module = Holder(torch.zeros(3), torch.eye(3).to_sparse() if kind == "sparse" else torch.zeros(3, 3), buffers=True)
    if kind == "given up":
        module.t1.untyped_storage().resize_(0)

    with pytest.raises(errors.UntouchedTensor, match="'t1' cannot be written to"):
        fit(module, {"t0": torch.ones(3), "t1": torch.eye(3)}, cast=cast)
    assert module.t0.tolist() == [0, 0, 0] and module.t0.dtype is torch.float32


def test_tensors_that_interleave_in_one_memory_do_not_overlap() -> None:
    base = torch.zeros(3, 2)
    module = Holder(base[:, 0], base[:, 1])

    fit(module, {"t0": torch.ones(3), "t1": torch.zeros(3)})

    assert module.t0.tolist() == [1, 1, 1] and module.t1.tolist() == [0, 0, 0]


def test_what_may_keep_its_value_is_not_overwritten_through_another_tensor() -> None:
    module = Holder(*halves())

    with pytest.raises(errors.UntouchedTensor, match="t1"):
        fit(module, {"t0": torch.ones(4)}, allow_missing=["t1"])
    assert not module.t1.any()


def test_tensors_of_other_dtypes_in_one_memory_are_held_apart_by_bytes() -> None:
    base = torch.zeros(4, dtype=torch.int32)
    module = Holder(base, base.view(torch.float32), buffers=True)

    with pytest.raises(errors.UntouchedTensor, match="share memory"):
        fit(module, {"t0": torch.ones(4, dtype=torch.int32), "t1": torch.ones(4)})


class Aliased(nn.Module):
    """Keeps views of its buffers, and buffers that are views of each other."""

    table: torch.Tensor
    all: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("table", torch.zeros(2, 3))
        self.flat = self.table.view(-1)
        self.register_buffer("all", torch.zeros(4))
        self.register_buffer("part", self.all[1:3])


def test_a_view_that_a_built_module_keeps_sees_the_loaded_values() -> None:
    built = build(ModelSpec("test_shared_memory:Aliased"))
    weights = {
        **{"linear.weight": torch.ones(2, 2), "linear.bias": torch.ones(2), "table": torch.arange(6.0).view(2, 3)},
        **{"all": torch.tensor([1.0, 2, 3, 4]), "part": torch.tensor([2.0, 3])},
    }

    fit(built, weights)

    module: Any = built.module
    assert module.flat.tolist() == [0, 1, 2, 3, 4, 5]
    module.all.zero_()
    assert not module.part.any()


class Expanded(nn.Module):
    """Makes an expanded buffer, which training replaced by a full one."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("spread", torch.zeros(1).expand(4))


@pytest.mark.parametrize("fast", [True, False])
def test_an_expanded_buffer_of_a_built_module_gets_memory_for_all_its_values(fast: bool) -> None:
    built = build(ModelSpec("test_shared_memory:Expanded"), fast=fast)

    fit(built, {"linear.weight": torch.ones(2, 2), "linear.bias": torch.ones(2), "spread": torch.arange(4.0)})

    assert built.module.get_buffer("spread").tolist() == [0, 1, 2, 3]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6)), min_size=1, max_size=3))
def test_no_overlap_is_overlooked_by_its_strides(sizes: list[tuple[int, int]]) -> None:
    shape, strides = [size for size, _ in sizes], [stride for _, stride in sizes]
    reach = sum((size - 1) * stride for size, stride in sizes) + 1
    places = torch.arange(reach).as_strided(shape, strides).reshape(-1)
    tensor = torch.zeros(reach).as_strided(shape, strides)

    if len(places.unique()) < len(places):
        assert may_overlap_itself(tensor)
    else:
        values = torch.arange(float(tensor.numel())).reshape(shape)
        put(tensor, values)
        assert torch.equal(tensor, values)
