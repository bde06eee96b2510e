"""A load cannot lie: what does not fit raises by name, and the caller's module is what it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from sample_models import Containers, ConvNet, ExtraState, OwnLoading, TiedTransformer
from torch import nn
from torch.nn.parallel import DataParallel

from registry import errors
from registry.modules.building.build import build
from registry.modules.building.specification import ModelSpec
from registry.modules.fitting.expectation import expect
from registry.modules.fitting.fit import fit
from registry.tensors.memory import same_bits


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return other values for every tensor of a module."""
    state = {n: t for n, t in module.state_dict().items() if isinstance(t, torch.Tensor)}
    return {n: (t.double() + i + 1).to(t.dtype) for i, (n, t) in enumerate(state.items())}


def bits(module: nn.Module) -> dict[str, object]:
    return {n: t.clone() if isinstance(t, torch.Tensor) else copy.deepcopy(t) for n, t in module.state_dict().items()}


def assert_unchanged(module: nn.Module, before: dict[str, Any]) -> None:
    for name, value in module.state_dict().items():
        old = before[name]
        assert same_bits(value, old) if isinstance(value, torch.Tensor) else value == old, name


def missing(w):
    del w["conv.weight"], w["norm.bias"]


def unexpected(w):
    w["head.weight"] = torch.ones(2)


def wrong_shape(w):
    w["norm.bias"] = w["norm.bias"][:1]


def scalar_for_one(w):
    w["norm.num_batches_tracked"] = torch.ones(1, dtype=torch.long)


def wrong_dtype(w):
    w["conv.weight"] = w["conv.weight"].double()


def complex_for_real(w):
    w["conv.weight"] = w["conv.weight"].to(torch.complex64)


@pytest.mark.parametrize(
    ("damage", "error", "named"),
    [
        (missing, errors.MissingTensors, "conv.weight"),
        (unexpected, errors.UnexpectedTensors, "head.weight"),
        (wrong_shape, errors.ShapeMismatch, "norm.bias"),
        (scalar_for_one, errors.ShapeMismatch, "norm.num_batches_tracked"),
        (wrong_dtype, errors.DtypeMismatch, "cast=torch.float64"),
        (complex_for_real, errors.DtypeMismatch, "conv.weight"),
    ],
)
def test_what_does_not_fit_raises_by_name_and_touches_nothing(damage, error, named):
    module = ConvNet()
    given, before = weights(module), bits(module)
    damage(given)

    with pytest.raises(error, match=named) as raised:
        fit(module, given)
    assert raised.value.report.model == "ConvNet"
    assert_unchanged(module, before)
    with pytest.raises(error):
        fit(build(ModelSpec("sample_models:ConvNet")), given)


def test_a_file_from_before_counters_existed_is_accepted_and_reported():
    given = weights(ConvNet())
    del given["norm.num_batches_tracked"]
    built = build(ModelSpec("sample_models:ConvNet"))

    report = fit(built, given, metadata={"norm": {"version": 1}})

    assert report.defaulted == ("norm.num_batches_tracked",)
    assert built.module.get_buffer("norm.num_batches_tracked") == 0
    with pytest.raises(errors.MissingTensors, match="num_batches_tracked"):
        fit(ConvNet(), given, metadata={"norm": {"version": 2}})


def test_what_may_be_missing_keeps_real_initial_values():
    given = weights(ConvNet())
    del given["up.weight"], given["up.bias"]
    given["old_head.weight"] = torch.ones(1)
    built = build(ModelSpec("sample_models:ConvNet"))

    report = fit(built, given, allow_missing=["up.*"], allow_unexpected=["old_head.*"])

    assert report.missing == ("up.weight", "up.bias") and report.unexpected == ("old_head.weight",)
    assert report.built == "plain" and "initial value" in str(report)
    kept = built.module.get_parameter("up.weight")
    assert not kept.is_meta and kept.std() > 0
    assert same_bits(built.module.get_parameter("conv.weight").detach(), given["conv.weight"])


def test_a_tie_that_the_entry_contradicts_is_refused():
    module = TiedTransformer()
    given, before = weights(module), bits(module)

    with pytest.raises(errors.BrokenTie, match=r"head\.weight"):
        fit(module, given)
    assert_unchanged(module, before)


def test_a_tied_name_may_be_absent():
    module = TiedTransformer()
    given = weights(module)
    del given["head.weight"]

    fit(module, given)

    assert module.head.weight is module.embedding.weight
    assert same_bits(module.head.weight.detach(), given["embedding.weight"])


def test_a_callers_module_keeps_its_objects_and_its_optimizer_works():
    module: Any = ConvNet()
    module.conv.weight.requires_grad_(False)
    module.up.weight.no_decay = True
    before = dict(module.named_parameters())
    addresses = {name: p.data_ptr() for name, p in before.items()}

    fit(module, weights(module))

    assert all(p is before[name] and p.data_ptr() == addresses[name] for name, p in module.named_parameters())
    assert not module.conv.weight.requires_grad and module.up.weight.no_decay


@pytest.mark.parametrize("wrap", [DataParallel, torch.compile, lambda m: torch.compile(DataParallel(m))])
def test_a_wrapped_module_is_loaded_inside(wrap):
    module = ConvNet()
    given = weights(module)

    fit(wrap(module), given)

    assert all(same_bits(t, given[n]) for n, t in module.state_dict().items())


def test_a_part_that_is_wrapped_has_canonical_names():
    module = Containers()
    outer = nn.Sequential(DataParallel(ConvNet()), module)

    assert "0.conv.weight" in expect(outer).tensors
    fit(outer, {n: torch.ones(s.shape).to(getattr(torch, s.dtype)) for n, s in expect(outer).tensors.items()})
    assert outer.get_parameter("0.module.conv.weight").min() == 1


def test_extra_state_that_is_refused_rolls_everything_back():
    module = ExtraState()
    module.steps = 4
    given, before = weights(module), bits(module)

    with pytest.raises(errors.ExtraStateRefused, match="steps are never negative") as raised:
        fit(module, given, values={"_extra_state": {"steps": -1}})

    assert raised.value.report.loaded == 3
    assert_unchanged(module, before)


def test_bytes_that_are_not_as_stored_never_reach_a_callers_module():
    module = ConvNet()
    before = bits(module)

    def check() -> None:
        raise errors.RegistryError("rotten")

    with pytest.raises(errors.RegistryError, match="rotten"):
        fit(module, weights(module), check=check)
    assert_unchanged(module, before)
    with pytest.raises(errors.RegistryError, match="rotten"):
        fit(build(ModelSpec("sample_models:ConvNet")), weights(module), check=check)


@pytest.mark.parametrize("target", ["caller", "fast"])
def test_a_cast_gives_every_floating_tensor_the_dtype(target):
    given = weights(TiedTransformer())
    given["head.weight"] = given["embedding.weight"]
    built = build(ModelSpec("sample_models:TiedTransformer"))
    module: Any = TiedTransformer() if target == "caller" else built.module
    parameter = module.head.weight if target == "caller" else None

    report = fit(module if target == "caller" else built, given, cast=torch.bfloat16)

    module = module if target == "caller" else built.module
    assert {t.dtype for t in [*module.parameters(), *module.buffers()]} == {torch.bfloat16}
    assert same_bits(module.head.weight.detach(), given["embedding.weight"].bfloat16())
    assert module.head.weight is module.embedding.weight and (parameter is None or parameter is module.head.weight)
    assert report.cast["head.weight"] == ("float32", "bfloat16") and "cast 30 tensors" in str(report)


def test_a_cast_that_overflows_is_refused():
    module = ConvNet()
    given, before = weights(module), bits(module)
    given["conv.bias"][0] = 1e6

    with pytest.raises(errors.CastOverflows, match=r"conv\.bias"):
        fit(module, given, cast=torch.float16)
    given["conv.bias"][0] = float("inf")
    assert_unchanged(module, before)
    fit(module, given, cast=torch.float16)
    with pytest.raises(errors.CastNotFloating, match="int8"):
        fit(module, given, cast=torch.int8)


def test_a_class_with_a_loading_of_its_own_is_loaded_by_it():
    module, given = OwnLoading(), {"weight": torch.arange(16.0).reshape(4, 4)}

    fit(module, given)

    assert same_bits(module.weight.detach(), given["weight"].T.contiguous())


def test_a_module_on_meta_takes_real_values():
    with torch.device("meta"):
        module = ConvNet()
    given = weights(ConvNet())

    fit(module, given)

    assert all(same_bits(t, given[n]) for n, t in module.state_dict().items())


def test_untied_tensors_that_share_memory_are_not_left_with_the_wrong_values():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight.data = module[0].weight.data
    given, before = weights(module), bits(module)

    with pytest.raises(errors.UntouchedTensor, match="share memory"):
        fit(module, given)
    assert_unchanged(module, before)


def test_training_what_was_loaded_never_changes_the_entry():
    given = weights(ConvNet())
    before = {n: t.clone() for n, t in given.items()}
    module = ConvNet()
    fit(module, given)
    module(ConvNet.example()).sum().backward()
    torch.optim.SGD(module.parameters(), 1.0).step()

    assert all(same_bits(given[n], before[n]) for n in given)
