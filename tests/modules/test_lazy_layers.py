"""A lazy layer takes the sizes that it does not know yet, and refuses what its constructor contradicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedParameter

from registry import errors
from registry.modules.fitting.fit import fit


class LazyTable(LazyModuleMixin, nn.Module):
    """A table with one row for each place of its first input, and a fixed width; not one of torch's own."""

    cls_to_become = None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.child = nn.Linear(1, 1)
        self.table = UninitializedParameter()
        self.gain = UninitializedParameter()

    def initialize_parameters(self, input: torch.Tensor, mask: torch.Tensor) -> None:
        if self.has_uninitialized_params():
            with torch.no_grad():
                self.table.materialize((input.shape[1], self.width))
                self.gain.materialize((input.shape[1],))
                self.table.normal_()

    def forward(self, input: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return input @ self.table


def ones(**shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    return {name.replace("__", "."): torch.ones(shape) for name, shape in shapes.items()}


Weights = dict[str, torch.Tensor]

FITTING: dict[str, tuple[Callable[[], nn.Module], Weights]] = {
    "linear": (lambda: nn.LazyLinear(10), ones(weight=(10, 7), bias=(10,))),
    "linear of one feature": (lambda: nn.LazyLinear(1), ones(weight=(1, 1), bias=(1,))),
    "convolution": (lambda: nn.LazyConv2d(4, (3, 5), groups=2), ones(weight=(4, 11, 3, 5), bias=(4,))),
    "transposed": (lambda: nn.LazyConvTranspose1d(6, 3, groups=3), ones(weight=(9, 2, 3), bias=(6,))),
    "batch norm": (
        lambda: nn.LazyBatchNorm2d(),
        {**ones(weight=(5,), bias=(5,), running_mean=(5,), running_var=(5,)), "num_batches_tracked": torch.tensor(3)},
    ),
    "a layer of one's own": (
        lambda: LazyTable(3),
        {**ones(table=(9, 3), gain=(9,)), **nn.ModuleDict({"child": nn.Linear(1, 1)}).state_dict()},
    ),
}

CONTRADICTED: dict[str, tuple[Callable[[], nn.Module], Weights, str]] = {
    "out_features": (lambda: nn.LazyLinear(10), ones(weight=(5, 7), bias=(5,)), "weight"),
    "out_features of the bias": (lambda: nn.LazyLinear(10), ones(weight=(10, 7), bias=(5,)), "bias"),
    "dimensions": (lambda: nn.LazyLinear(10), ones(weight=(10, 7, 1), bias=(10,)), "weight"),
    "kernel": (lambda: nn.LazyConv2d(4, 3), ones(weight=(4, 11, 5, 5), bias=(4,)), "weight"),
    "out_channels": (lambda: nn.LazyConv1d(4, 3, bias=False), ones(weight=(8, 11, 3)), "weight"),
    "out_channels and groups": (
        lambda: nn.LazyConvTranspose2d(6, 3, groups=3, bias=False),
        ones(weight=(9, 6, 3, 3)),
        "weight",
    ),
    "sizes that are one": (
        lambda: nn.LazyBatchNorm1d(),
        {**ones(weight=(3,), bias=(4,), running_mean=(3,), running_var=(3,)), "num_batches_tracked": torch.tensor(0)},
        "bias",
    ),
    "a layer of one's own": (
        lambda: LazyTable(3),
        {**ones(table=(9, 4), gain=(9,)), **nn.ModuleDict({"child": nn.Linear(1, 1)}).state_dict()},
        "table",
    ),
}


@pytest.mark.parametrize("way", FITTING)
def test_a_lazy_layer_takes_the_size_that_it_does_not_know(way: str) -> None:
    make, weights = FITTING[way]
    module = make()
    before = torch.get_rng_state()

    fit(module, weights)

    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in weights.items())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("way", CONTRADICTED)
def test_a_shape_that_the_constructor_contradicts_is_refused_and_the_layer_stays_lazy(way: str) -> None:
    make, weights, named = CONTRADICTED[way]
    module = nn.Sequential(make())

    with pytest.raises(errors.ShapeMismatch, match=f"0.{named}"):
        fit(module, {f"0.{name}": tensor for name, tensor in weights.items()})

    layer: Any = module[0]
    assert layer.has_uninitialized_params()


def test_another_dtype_is_not_cast_silently_by_a_lazy_layer() -> None:
    with pytest.raises(errors.DtypeMismatch, match="weight"):
        fit(nn.LazyLinear(2, bias=False), {"weight": torch.full((2, 2), 0.1, dtype=torch.float64)})
    module = nn.LazyLinear(2, bias=False)
    fit(module, {"weight": torch.full((2, 2), 0.1, dtype=torch.float64)}, cast=torch.float64)
    assert module.weight.dtype == torch.float64 and module.weight[0, 0] == 0.1
