"""The weights of whole pickled modules are given where they are asked for, and nothing of the module is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from nets import OnlyChild, PointNet, Tied
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel
from written import saved

import registry
from registry import errors


class Honest(nn.Module):
    """Has a child that is called as a wrapper's, a buffer that is not saved, and a tensor that is nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(3, 2)
        self.absent = None
        self.register_parameter("bias", None)
        self.register_buffer("cache", torch.ones(5), persistent=False)
        self.anchors = torch.ones(4)

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise AssertionError("it was built")


def wrapped_inside() -> nn.Module:
    return nn.Sequential(nn.DataParallel(nn.Linear(2, 2)), checkpoint_wrapper(nn.Linear(2, 2)), nn.BatchNorm1d(2))


@pytest.mark.parametrize(
    "make",
    [PointNet, Tied, Honest, wrapped_inside, lambda: nn.DataParallel(PointNet()), lambda: AveragedModel(PointNet()),
     lambda: AveragedModel(nn.DataParallel(OnlyChild()))],
    ids=["plain", "tied", "honest", "inside", "dp", "ema", "ema(dp)"],
)  # fmt: skip
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_the_weights_are_those_of_the_live_model(
    make: Any, is_zip: bool, hub: registry.Registry, tmp_path: Path
) -> None:
    module = make()
    path = saved(tmp_path / "a.pt", {"epoch": 3, "net": module}, _use_new_zipfile_serialization=is_zip)
    entry, live = hub.push(path, "net", weights="net"), hub.push(module, "live")
    assert (entry.digest, entry.wrapper) == (live.digest, live.wrapper)
    assert list(hub.state_dict("net")) == list(hub.state_dict("live"))
    assert any("a whole pickled module" in notice for notice in entry.notices)


def test_unasked_it_is_refused_with_what_may_be_asked_for(hub: registry.Registry, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"model": PointNet(), "average": [PointNet()], "none": nn.ReLU()})
    count = len(PointNet().state_dict())
    with pytest.raises(errors.PickledModule, match=rf"--weights model \({count} tensors\), --weights average/0"):
        hub.push(path, "net")
    with pytest.raises(errors.UnknownWeightSet):
        hub.push(path, "net", weights="none")
    root = saved(tmp_path / "b.pt", Honest())
    with pytest.raises(errors.PickledModule, match=r"--weights \. \(2 tensors\)"):
        hub.inspect(root)
    assert list(hub.inspect(root, weights=".").form.tensors.values()) == ["module.weight", "module.bias"]


def test_the_notice_names_the_model_and_what_is_not_of_its_state_dict(hub: registry.Registry, tmp_path: Path) -> None:
    entry = hub.push(saved(tmp_path / "a.pt", nn.DataParallel(Honest())), "net", weights=".")
    read, left = entry.notices
    assert f"({__name__}.Honest)" in read
    assert left.startswith("not stored: ") and "(1 tensor)" in left and "anchors" in left


def test_a_class_judges_what_a_module_gives(hub: registry.Registry, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", PointNet())
    hub.push(path, "net", weights=".", model="nets:PointNet")
    assert isinstance(hub.load("net"), PointNet)
    with pytest.raises(errors.ClassMismatch):
        hub.push(path, "net", weights=".", model="nets:OnlyChild")


class Runs:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.flag),)


def test_nothing_in_a_module_runs_and_what_only_code_can_read_is_refused(
    hub: registry.Registry, tmp_path: Path
) -> None:
    module: Any = nn.Linear(2, 2)
    module.__dict__["_forward_hooks"] = Runs(tmp_path / "ran")
    hub.push(saved(tmp_path / "a.pt", module), "net", weights=".")
    module.__dict__["_modules"] = {"inner": Runs(tmp_path / "ran")}
    with pytest.raises(errors.PickledModule) as refusal:
        hub.push(saved(tmp_path / "b.pt", module), "net", weights=".")
    assert "--weights" not in str(refusal.value) and not (tmp_path / "ran").exists()


def test_a_module_that_holds_itself_ends_in_a_sentence(hub: registry.Registry, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    module._modules["again"] = module
    with pytest.raises(errors.RegistryError):
        hub.push(saved(tmp_path / "a.pt", module), "net", weights=".")


def test_a_module_of_endless_names_is_refused_in_time(hub: registry.Registry, tmp_path: Path) -> None:
    module: nn.Module = nn.Linear(1, 1)
    for _ in range(40):
        module = nn.ModuleDict({"a" * 100: module, "b" * 100: module})
    with pytest.raises(errors.RegistryError):
        hub.push(saved(tmp_path / "a.pt", module), "net", weights=".")


def test_one_that_cannot_be_read_hides_no_other(hub: registry.Registry, tmp_path: Path) -> None:
    odd: Any = nn.Linear(2, 2)
    odd.__dict__["_modules"] = {"inner": Runs(tmp_path / "ran")}
    path = saved(tmp_path / "a.pt", {"odd": odd, "net": PointNet()})
    with pytest.raises(errors.PickledModule, match="--weights net"):
        hub.push(path, "net")
    assert hub.push(path, "net", weights="net").tensor_count == len(PointNet().state_dict())


def test_a_state_dict_beside_a_module_is_what_is_meant(hub: registry.Registry, tmp_path: Path) -> None:
    entry = hub.push(saved(tmp_path / "a.pt", {"model": Honest(), "weights": PointNet().state_dict()}), "net")
    assert entry.weights_key == "weights" and any("not stored: 'model'" in notice for notice in entry.notices)


@pytest.mark.parametrize("file", ["module_epoch50.pth", "vdsr_epoch50.pth"])
def test_a_published_module_gives_its_weights(file: str, hub: registry.Registry, published: Any) -> None:
    entry = hub.push(published(file), "net", weights="model")
    held = hub.state_dict("net")
    assert entry.tensor_count == len(held) > 1 and all(name.endswith(("weight", "bias")) for name in held)


@pytest.mark.parametrize(
    "beside",
    [
        {"loss": torch.tensor(0.3)},
        {"mean": torch.ones(3)},
        {"rng": torch.get_rng_state()},
        {"a": torch.ones(3).numpy()},
    ],
    ids=["a loss", "constants", "random state", "an array"],
)
def test_what_lies_loose_beside_a_module_is_no_model(beside: Any, hub: registry.Registry, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"net": PointNet(), **beside})
    with pytest.raises(errors.PickledModule, match="--weights net"):
        hub.push(path, "net")
    entry = hub.push(path, "net", weights="net")
    assert any(f"not stored: '{next(iter(beside))}'" in notice for notice in entry.notices)


def test_a_module_as_large_as_a_state_dict_beside_it_is_the_users_to_choose(
    hub: registry.Registry, tmp_path: Path
) -> None:
    module, average = PointNet(), PointNet().state_dict()
    history = {"acc": torch.rand(30), "loss": torch.rand(30)}
    for beside in ({"ema": average}, {"history": history}):
        path = saved(tmp_path / "a.pt", {"model": module, **beside})
        with pytest.raises(errors.SeveralWeightSets) as refusal:
            hub.push(path, "net")
        assert list(refusal.value.counts) == [*beside, "model"] and "--weights . " not in str(refusal.value)
        entry = hub.push(path, "net", weights="model")
        assert entry.digest == hub.push(module, "live").digest
        assert not any("not read" in notice for notice in entry.notices)


def test_a_module_that_a_model_was_constructed_with_is_given_where_it_is_asked_for(
    hub: registry.Registry, tmp_path: Path
) -> None:
    module = PointNet()
    content = {"state_dict": module.state_dict(), "hyper_parameters": {"backbone": module, "width": 3}}
    path = saved(tmp_path / "a.ckpt", content)
    assert hub.push(path, "net").weights_key == "state_dict"
    assert hub.push(path, "backbone", weights="hyper_parameters.backbone").weights_key == "hyper_parameters/backbone"
