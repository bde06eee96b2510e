"""Constructed without initial values, a module is what the plain way makes of it, or it is constructed plainly."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from constructors import FAST, REFUSED, ZOO
from torch import nn

from registry.errors import RandomOutside
from registry.models import generators
from registry.models.bits import same_bits
from registry.models.build import build
from registry.models.fit import fit
from registry.models.outside import outside
from registry.models.slots import layout
from registry.models.specification import ModelSpec

ALLOWED = sorted(name for name, (_, how) in ZOO.items() if how != REFUSED)


def stored(kind: type[nn.Module]) -> dict[str, torch.Tensor]:
    """Return a state dict with values that no constructor gives; the tied and the shared have one value."""
    module = kind()
    state = module.state_dict(keep_vars=True)
    values = {id(t): (torch.arange(1.0, t.numel() + 1).reshape(t.shape) / 8) for t in state.values()}
    for index, tensor in enumerate({id(t): t for t in state.values()}.values()):
        with torch.no_grad():
            tensor.copy_((values[id(tensor)] + index).to(tensor.dtype))
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    found = {name: slot.tensor for name, slot in layout(module).slots.items()}
    return found | {f"outside {n}": t for n, t in outside(module).items() if isinstance(t, torch.Tensor)}


def partition(module: nn.Module) -> list[list[str]]:
    """Return which tensors lie in one piece of memory."""
    groups: dict[int, list[str]] = {}
    for name, tensor in tensors(module).items():
        if tensor.numel():
            groups.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    return sorted(sorted(names) for names in groups.values())


@pytest.mark.parametrize("name", ALLOWED)
def test_a_loaded_module_is_what_a_plain_one_with_the_same_weights_is(name):
    kind, how = ZOO[name]
    state = stored(kind)
    torch.manual_seed(1)
    ordinary = kind()
    ordinary.load_state_dict(state, strict=True)
    spec = ModelSpec(f"constructors:{name}")
    generators.seed(2)
    before = generators.state()

    built = build(spec)
    report = fit(built, {n: t.clone() for n, t in state.items()})

    assert generators.stand_at(before)
    assert report.built == how, report.reason
    ours, theirs = tensors(built.module), tensors(ordinary)
    assert list(ours) == list(theirs)
    for path, tensor in ours.items():
        other = theirs[path]
        assert type(tensor) is type(other), path
        assert same_bits(tensor, other), path
        for fact in ("requires_grad", "dtype", "device", "is_leaf"):
            assert getattr(tensor, fact) == getattr(other, fact), (path, fact)
        assert tensor.stride() == other.stride(), path
        assert sorted(vars(tensor)) == sorted(vars(other)), path
        assert len(tensor._backward_hooks or ()) == len(other._backward_hooks or ()), path
    assert partition(built.module) == partition(ordinary)
    for path, value in outside(ordinary).items():
        if not isinstance(value, torch.Tensor):
            assert np.array_equal(value, outside(built.module)[path]), path
    for part, same in zip(built.module.modules(), ordinary.modules(), strict=True):
        assert set(vars(part)) == set(vars(same))
        for attribute, value in vars(part).items():
            if isinstance(value, (bool, int, str, bytes, torch.device, torch.Size)):
                assert value == vars(same)[attribute], attribute
    for parameter in built.module.parameters():
        if parameter.requires_grad:
            parameter.sum().backward()


@pytest.mark.parametrize("name", sorted(set(ZOO) - set(ALLOWED)))
def test_what_is_random_and_in_no_version_is_refused_unless_it_is_allowed_by_name(name):
    kind, _ = ZOO[name]
    state = stored(kind)
    spec = ModelSpec(f"constructors:{name}")
    with pytest.raises(RandomOutside) as refused:
        fit(build(spec), state)
    names = refused.value.names
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    ordinary = kind()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)

    built = build(spec)
    report = fit(built, state, allow_missing=names)

    assert set(names) <= set(report.missing)
    for path, value in outside(ordinary).items():
        with torch.no_grad():
            assert same_bits(torch.as_tensor(value), torch.as_tensor(outside(built.module)[path])), path


def test_most_of_the_usual_is_fast():
    assert sum(how == FAST for _, how in ZOO.values()) >= 20
