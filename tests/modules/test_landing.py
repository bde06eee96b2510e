"""A load ends by seeing that the module still holds what was loaded, and the module can be asked where it is from."""

from __future__ import annotations

import copy
import gc
from typing import Any

import pytest
import torch
from nets import PointNet
from torch import nn
from torch.nn.parallel import DataParallel
from torch.optim.swa_utils import AveragedModel

import registry
from registry import errors
from registry.modules import origin
from registry.modules.fitting.fit import fit


class Restarting(nn.Module):
    """Begins anew what it has, whenever its state is set."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(2))
        self.how = how

    def get_extra_state(self) -> dict[str, int]:
        return {}

    def set_extra_state(self, state: dict[str, int]) -> None:
        if self.how == "in place":
            nn.init.zeros_(self.linear.weight)
        elif self.how == "another parameter":
            self.linear.weight = nn.Parameter(torch.zeros(2, 2))
        elif self.how == "another layer":
            self.linear = nn.Linear(2, 2)
        elif self.how == "a buffer in place":
            self.get_buffer("mean").zero_()


@pytest.mark.parametrize("how", ["in place", "another parameter", "another layer", "a buffer in place"])
def test_what_is_begun_anew_after_it_was_loaded_is_found(how: str) -> None:
    module = Restarting(how)
    before = {name: tensor.clone() for name, tensor in module.named_parameters()}

    with pytest.raises(errors.UntouchedTensor, match=r"mean|linear\.weight"):
        weights = {"linear.weight": torch.ones(2, 2), "linear.bias": torch.ones(2), "mean": torch.ones(2)}
        fit(module, weights, values={"_extra_state": {}})

    assert all(torch.equal(tensor, before[name]) for name, tensor in module.named_parameters())


class RestartingOnMove(nn.Linear):
    def _apply(self, *args: object, **kwargs: object) -> nn.Module:
        super()._apply(*args, **kwargs)
        self.reset_parameters()
        return self


def test_what_is_begun_anew_while_it_is_moved_is_found_and_undone() -> None:
    module = RestartingOnMove(2, 2)
    before = module.weight.tolist()

    with pytest.raises(errors.UntouchedTensor, match="weight"):
        fit(module, {"weight": torch.ones(2, 2), "bias": torch.ones(2)}, device="cpu")

    assert module.weight.tolist() == before


class Showing(nn.Linear):
    """Shows in its state dict what it was given, and computes with something else."""

    def _load_from_state_dict(self, state, prefix, *args):
        self.given = dict(state)

    def state_dict(self, *args, **kwargs):
        return getattr(self, "given", None) or super().state_dict(*args, **kwargs)


def test_a_state_dict_that_only_repeats_what_was_given_does_not_deceive() -> None:
    with pytest.raises(errors.UntouchedTensor, match="weight"):
        fit(Showing(2, 2), {"weight": torch.ones(2, 2), "bias": torch.ones(2)})


def test_a_wrapped_part_of_a_class_with_its_own_hooks_is_loaded_by_canonical_names() -> None:
    def make() -> nn.ModuleDict:
        normed = nn.utils.spectral_norm(nn.Linear(2, 2))
        return nn.ModuleDict({"net": DataParallel(normed), "ema": AveragedModel(nn.Linear(2, 2))})

    saved, loaded = make(), make()
    bare = nn.ModuleDict({part: saved.get_submodule(f"{part}.module") for part in ("net", "ema")})

    fit(loaded, dict(bare.state_dict()))

    assert all(torch.equal(t, saved.state_dict()[n]) for n, t in loaded.state_dict().items())


def test_a_module_tells_which_version_it_was_loaded_from(hub: registry.Registry) -> None:
    first, second = hub.push(PointNet(), "net"), hub.push(PointNet(), "net")
    model = PointNet()
    assert registry.loaded_from(model) is None

    hub.load("net:v1", model=model)
    assert registry.loaded_from(model) == (first.ref, first.digest)
    hub.load("net", model=DataParallel(model))
    assert registry.loaded_from(model) == (second.ref, second.digest)
    compiled: Any = torch.compile(DataParallel(model))
    assert registry.loaded_from(compiled) == (second.ref, second.digest)
    assert registry.loaded_from(copy.deepcopy(model)) is None
    with pytest.raises(errors.RegistryError):
        hub.load("net:v1", model=model, cast=torch.int8)
    assert registry.loaded_from(model) == (second.ref, second.digest)


def test_a_built_and_a_resumed_module_tell_it_too(hub: registry.Registry) -> None:
    source = PointNet()
    entry = hub.push(source, "net", optimizer=torch.optim.SGD(source.parameters(), 0.1))
    model = PointNet()

    hub.resume("net", model, torch.optim.SGD(model.parameters(), 0.1))

    assert registry.loaded_from(model) == (entry.ref, entry.digest)
    assert registry.loaded_from(hub.load("net")) == (entry.ref, entry.digest)


class Equal(nn.Linear):
    """Says that all of its kind are equal."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return True


def test_modules_that_say_they_are_equal_are_told_apart_and_forgotten_when_they_are_gone(
    hub: registry.Registry,
) -> None:
    hub.push(nn.Linear(2, 2), "net")
    one, other = Equal(2, 2), Equal(2, 2)
    hub.load("net", model=one)
    gc.collect()  # what other tests have loaded
    number = len(origin._origins)

    assert registry.loaded_from(one) is not None and registry.loaded_from(other) is None
    del one
    gc.collect()
    assert len(origin._origins) == number - 1
