"""Constructed without initial values, a module is what the plain way makes of it, or it is constructed plainly."""

from __future__ import annotations

import random
import threading
from importlib import import_module
from typing import Any

import constructors
import numpy as np
import pytest
import torch
from constructors import CACHE, FAST, REFUSED, ZOO, cached_projection
from torch import nn

from registry.errors import ConstructorFailed, KeptConstruction, MetaOutside, RandomOutside
from registry.modules.building import process_state as generators
from registry.modules.building.build import build
from registry.modules.building.outside import outside
from registry.modules.building.prints import fingerprint, is_array, is_flat
from registry.modules.building.reachable import reachable
from registry.modules.building.specification import ModelSpec
from registry.modules.fitting.fit import fit
from registry.modules.layout import layout
from registry.tensors.memory import same_bits

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
    return found | {f"outside {name}": tensor for name, tensor in outside(module).items()}


def plain_values(module: nn.Module) -> dict[str, str]:
    """Return the arrays and broken numbers outside of a state dict, alone and in lists, as texts."""
    found = [(path, value) for path, value, is_leaf, _ in reachable(module, layout(module)) if is_leaf]
    numbers = [(p, v) for p, v in found if is_array(v) or any(type(x) is float for x in (v if is_flat(v) else [v]))]
    return {path: fingerprint(value, is_leaf=True) for path, value in numbers}


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
    before = generators.state(to_come=True)  # also of numpy, which may not have been asked for yet

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
    assert plain_values(built.module) == plain_values(ordinary)
    for part, same in zip(built.module.modules(), ordinary.modules(), strict=True):
        assert set(vars(part)) - {"_registry_init"} == set(vars(same))
        for attribute, value in vars(same).items():
            if isinstance(value, (bool, int, str, bytes, torch.device, torch.Size)):
                assert value == vars(part)[attribute], attribute
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
            assert same_bits(value, outside(built.module)[path]), path
    assert plain_values(built.module) == plain_values(ordinary)


def test_a_cache_that_an_attempt_filled_is_not_used():
    with pytest.raises(KeptConstruction, match="cache"):
        build(ModelSpec("constructors:CachedProjection"))

    assert CACHE.pop(4).isnan().all()  # and whoever asks for it later sees that it is worth nothing
    cached_projection(4)
    state = {"fc.weight": torch.ones(4, 4), "fc.bias": torch.zeros(4)}
    built = build(ModelSpec("constructors:CachedProjection"))
    fit(built, state)
    module: Any = built.module
    assert same_bits(module.projection, CACHE.pop(4))


class Backwards(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        nn.init.uniform_(self.fc.weight, 1.0, -1.0)


def test_bounds_that_an_initializer_refuses_are_refused_where_it_draws_nothing():
    with pytest.raises(ConstructorFailed):
        build(ModelSpec("constructors:Backwards", cls=Backwards))


def test_a_module_that_a_constructor_imports_has_its_own_values():
    build(ModelSpec("constructors:LateImport"))
    late = import_module("imported_late")

    assert late.NOISE.unique().numel() == 4
    assert late.LAYER.weight.unique().numel() == 4


@pytest.mark.parametrize("name", ["NeedsNamedHead", "ReadingNamedHead"])
def test_what_stays_initial_is_drawn_as_by_a_plain_call_and_the_draws_are_not_put_back(name):
    state = {"fc.weight": torch.ones(4, 4), "fc.bias": torch.zeros(4)}
    generators.seed(11)
    ordinary = [getattr(constructors, name)() for _ in range(2)]
    after = generators.state()
    generators.seed(11)

    loaded = []
    for _ in ordinary:
        loaded.append(build(ModelSpec(f"constructors:{name}")))
        fit(loaded[-1], state, allow_missing=["head.*"])

    assert generators.stand_at(after)
    for built, module in zip(loaded, ordinary, strict=True):
        assert same_bits(built.module.get_parameter("head.weight"), module.head.weight)
    first, second = (built.module.get_parameter("head.weight") for built in loaded)
    assert not same_bits(first, second)


def test_a_module_on_meta_is_refused_where_the_entry_has_no_values_for_all_of_it():
    weights = {"fc.weight": torch.ones(4, 4), "fc.bias": torch.zeros(4)}
    instance = constructors.OnMeta()

    for target in (instance, build(ModelSpec("constructors:OnMeta"))):
        with pytest.raises(MetaOutside, match="'angles'"):
            fit(target, weights)
    assert instance.fc.weight.is_meta


def test_other_threads_construct_and_read_as_ever_meanwhile():
    wrong: list[object] = []
    stop = threading.Event()

    def construct() -> None:
        while not stop.is_set():
            layer = nn.Linear(4, 4)
            nn.init.trunc_normal_(layer.weight)
            wrong.extend(p for p in layer.parameters() if len(p.tolist()) != 4 or p.detach().numpy().std() == 0)

    thread = threading.Thread(target=construct)
    thread.start()
    built = [build(ModelSpec("constructors:Slow")) for _ in range(10)]
    stop.set()
    thread.join()

    assert not wrong
    assert any(b.fast for b in built) or all("generator" in b.reason for b in built)


def test_nothing_stays_in_place_after_a_build():
    own = dict(vars(torch.Tensor))
    for name in ("Plain", "ItemReader", "Threaded"):
        build(ModelSpec(f"constructors:{name}"))

    assert dict(vars(torch.Tensor)) == own
    assert nn.Linear(2, 2).weight.unique().numel() == 4
    assert not torch.nn.modules.module._global_parameter_registration_hooks


def test_most_of_the_usual_is_fast():
    assert sum(how == FAST for _, how in ZOO.values()) >= 20
