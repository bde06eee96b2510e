"""What goes in comes out: exports, live objects, containers, published files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from contents import is_empty
from nets import Counting, OnlyChild, PointNet, Tied
from safetensors.torch import load_file, save_model
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper
from torch.optim.swa_utils import AveragedModel

import registry
from registry import errors

Published = Callable[[str], Path]


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return list(a) == list(b) and all(
        torch.equal(a[name], b[name]) if isinstance(b[name], torch.Tensor) else a[name] == b[name] for name in b
    )


WRAPPED: dict[str, Callable[[nn.Module], Any]] = {
    "dp": lambda model: nn.DataParallel(model),
    "compile": torch.compile,
    "ema": AveragedModel,
    "compile of dp": lambda model: torch.compile(nn.DataParallel(model)),
    "ema of dp": lambda model: AveragedModel(nn.DataParallel(model)),
    "bare": lambda model: model,
}


@pytest.mark.parametrize("way", WRAPPED)
def test_as_saved_gives_back_the_file_bit_for_bit(way: str, hub: registry.Registry, tmp_path: Path) -> None:
    state = WRAPPED[way](PointNet()).state_dict()
    torch.save(state, tmp_path / "net.pth")
    hub.push(tmp_path / "net.pth")
    out = torch.load(hub.export("net", tmp_path / "out.pth", format="as-saved"), weights_only=True)
    assert set(out) == set(state)
    assert all(torch.equal(out[name], state[name]) for name in state)
    WRAPPED[way](PointNet()).load_state_dict(out, strict=True)


@pytest.mark.parametrize(("format", "wrap"), [("ddp", nn.DataParallel), ("compile", torch.compile), ("pth", nn.Module)])
def test_an_export_loads_strictly_into_what_it_is_for(
    format: str, wrap: Any, hub: registry.Registry, tmp_path: Path
) -> None:
    truth = PointNet()
    hub.push(truth, "net")
    exported = torch.load(hub.export("net", tmp_path / "out.pth", format=format), weights_only=True)
    model = PointNet()
    (model if wrap is nn.Module else wrap(model)).load_state_dict(exported, strict=True)
    assert same(model.state_dict(), truth.state_dict())


def test_an_exported_safetensors_file_has_the_canonical_names(hub: registry.Registry, tmp_path: Path) -> None:
    truth = Tied()
    hub.push(truth, "net")
    assert load_file(hub.export("net", tmp_path / "out.safetensors")).keys() == truth.state_dict().keys()


def test_an_export_replaces_no_file(hub: registry.Registry, tmp_path: Path) -> None:
    hub.push(PointNet(), "net")
    (tmp_path / "out.pth").write_text("mine")
    with pytest.raises(errors.CannotExport, match="exists"):
        hub.export("net", tmp_path / "out.pth", format="pth")
    assert (tmp_path / "out.pth").read_text() == "mine"


@pytest.mark.parametrize("way", WRAPPED)
def test_a_live_model_is_unwrapped_by_the_types_of_its_wrappers(way: str, hub: registry.Registry) -> None:
    truth = PointNet()
    entry = hub.push(WRAPPED[way](truth), "net")
    assert same(dict(hub.state_dict("net")), dict(truth.state_dict()))
    assert entry.wrapper == {"bare": "none"}.get(way, way.replace(" of ", "(") + (")" if " of " in way else ""))
    assert all(cut.evidence == "live" for cut in entry.unwrapping.cuts)


def test_a_live_model_with_an_honest_child_called_module_is_left_alone(hub: registry.Registry) -> None:
    entry = hub.push(OnlyChild(), "net")
    assert list(hub.state_dict(entry.ref)) == ["module.weight", "module.bias"]


CONTAINERS = {
    "top": lambda sd: sd,
    "state_dict": lambda sd: {"epoch": 3, "state_dict": sd},
    "model": lambda sd: {"model": sd, "optimizer": {"state": {}, "param_groups": []}},
    "model_state_dict": lambda sd: {"model_state_dict": sd, "loss": 0.5},
    "net": lambda sd: {"net": sd, "acc": 91.0},
    "network": lambda sd: {"network": sd},
    "weights": lambda sd: {"weights": sd},
    "model_state": lambda sd: {"model_state": sd},
    "ema": lambda sd: {"ema": sd},
    "two levels": lambda sd: {"model": {"state_dict": sd, "model_args": {"num_classes": 5}}},
    "deepspeed": lambda sd: {"module": sd, "ds_version": "0.14", "dp_world_size": 8},
    "lightning": lambda sd: {"state_dict": sd, "pytorch-lightning_version": "2.4", "hyper_parameters": {"width": 8}},
    "ddp names": lambda sd: {"state_dict": {f"module.{name}": tensor for name, tensor in sd.items()}},
}


def test_the_same_weights_are_one_digest_in_every_container(hub: registry.Registry, tmp_path: Path) -> None:
    state = PointNet().state_dict()
    digests = set()
    for number, (name, contain) in enumerate(CONTAINERS.items()):
        torch.save(contain(OrderedDict(state)), tmp_path / "checkpoint.pth")
        digests.add(hub.push(tmp_path / "checkpoint.pth", f"net-{number}", note=name).digest)
    assert len(digests) == 1


def test_of_several_sets_of_weights_the_user_chooses(hub: registry.Registry, tmp_path: Path) -> None:
    raw, averaged = PointNet().state_dict(), PointNet().state_dict()
    torch.save({"state_dict": raw, "state_dict_ema": averaged}, tmp_path / "net.pth")
    with pytest.raises(errors.SeveralWeightSets, match=r"'state_dict' \(\d+ tensors\).*'state_dict_ema'"):
        hub.push(tmp_path / "net.pth")
    hub.push(tmp_path / "net.pth", weights="state_dict_ema")
    assert same(dict(hub.state_dict("net")), dict(averaged))


def test_a_tied_name_that_the_writer_dropped_is_restored(hub: registry.Registry, tmp_path: Path) -> None:
    truth = Tied()
    save_model(truth, str(tmp_path / "net.safetensors"))
    entry = hub.push(tmp_path / "net.safetensors", model="nets:Tied")
    other = hub.push(truth, "live")
    assert entry.digest == other.digest
    out = hub.export("net", tmp_path / "out.pth", format="as-saved")
    assert len(torch.load(out, weights_only=True)) == 1


def test_a_state_dict_that_was_loaded_can_be_saved_small(hub: registry.Registry, tmp_path: Path) -> None:
    hub.push(PointNet(width=64), "net")
    state = hub.state_dict("net")
    torch.save({"head.bias": state["head.bias"]}, tmp_path / "bias.pth")
    assert (tmp_path / "bias.pth").stat().st_size < 3000


def test_extra_state_and_numbers_of_a_state_dict_come_back(hub: registry.Registry, tmp_path: Path) -> None:
    model = Counting()
    model.steps = 5
    torch.save({**model.state_dict(), "temperature": 0.07}, tmp_path / "net.pth")
    hub.push(tmp_path / "net.pth")
    state = hub.state_dict("net")
    assert state["_extra_state"] == {"steps": 5}
    assert state["temperature"] == 0.07


def test_a_difference_has_norms(hub: registry.Registry) -> None:
    model = PointNet()
    hub.push(model, "net")
    with torch.no_grad():
        model.head.bias.add_(3.0)
    hub.push(model, "net")
    difference = hub.diff("net:v1", "net:v2")
    assert [change.name for change in difference.changed] == ["head.bias"]
    assert difference.changed[0].largest == pytest.approx(3.0)
    assert difference.changed[0].norm == pytest.approx(3.0 * 5**0.5)
    assert difference.equal == len(model.state_dict()) - 1


RIGHT_ANSWERS = {
    "wrapped.th": ("ddp or dp", 18, 7),
    "training.pth.tar": ("none", 7, 0),
    "minifasnet_v1se.pth": ("ddp or dp", 370, 0),
    "dgcnn_s3dis.t7": ("ddp or dp", 89, 40),
    "resnet20_cifar10.th": ("ddp or dp", 97, 0),
    "3ddfa_mb05.pth": ("ddp or dp", 166, 0),
    "pointnet_features.t7": ("none", 35, 0),
    "pointnetlk_snapshot.t7": ("none", 36, 0),
    "facenet_pnet.pt": ("none", 13, 0),
    "chgnet_0.3.0.pth.tar": ("none", 136, 0),
}


@pytest.mark.parametrize("file", RIGHT_ANSWERS)
def test_published_checkpoints_are_read_rightly(file: str, published: Published, hub: registry.Registry) -> None:
    wrapper, tensors, ties = RIGHT_ANSWERS[file]
    path = published(file)
    entry = hub.push(path, "net")
    assert (entry.wrapper, entry.tensor_count) == (wrapper, tensors)
    assert len(hub.inspect(path).ties) == ties
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    for key in filter(None, entry.weights_key.split("/")):
        loaded = loaded[key]
    state = hub.state_dict(entry.ref)
    assert all(torch.equal(state[entry.unwrapping.bare(name)], tensor) for name, tensor in loaded.items())


@pytest.mark.parametrize(("file", "honest"), [("wrapped.th", 4), ("minifasnet_v1se.pth", 36)])
def test_honest_names_inside_a_published_checkpoint_survive(
    file: str, honest: int, published: Published, hub: registry.Registry
) -> None:
    hub.push(published(file), "net", from_="ddp")
    assert sum("se_module" in name for name in hub.state_dict("net")) == honest


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("program.jit", "TorchScript"),
        ("module_epoch50.pth", "pickled module"),
        ("silero_vad.jit", "TorchScript"),
        ("vdsr_epoch50.pth", "pickled module"),
    ],
)
def test_programs_are_refused_with_the_lines_that_convert_them(
    file: str, what: str, published: Published, hub: registry.Registry
) -> None:
    with pytest.raises(errors.RegistryError, match=what) as refused:
        hub.push(published(file), "net")
    assert "torch.save(model.state_dict()" in str(refused.value)
    assert is_empty(hub)


def test_files_from_before_the_counters_load_with_them_defaulted(hub: registry.Registry, tmp_path: Path) -> None:
    state = {name: t for name, t in PointNet().state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    hub.push(tmp_path / "old.pth", model="nets:PointNet")
    model, report = hub.load("old", report=True)
    assert report.defaulted == ("features.1.num_batches_tracked",)
    assert int(model.get_buffer("features.1.num_batches_tracked")) == 0


def test_a_push_misses_the_counters_that_a_load_would_miss(hub: registry.Registry, tmp_path: Path) -> None:
    model = PointNet()
    model.features[1] = CheckpointWrapper(model.features[1])  # whose paths the metadata has, and the names have not
    state = model.state_dict()
    del state["features.1.num_batches_tracked"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(errors.ClassMismatch, match="num_batches_tracked"):
        hub.push(tmp_path / "cut.pth", model="nets:PointNet")
    assert is_empty(hub)


@pytest.mark.parametrize("file", ["wrapped.th", "3ddfa_mb05.pth"])
def test_a_wrong_class_is_refused_with_what_is_left_over(
    file: str, published: Published, hub: registry.Registry
) -> None:
    with pytest.raises(errors.ClassMismatch) as refused:
        hub.push(published(file), "net", model="nets:PointNet")
    assert refused.value.missing
    assert refused.value.extra


def test_every_error_can_be_caught_by_name() -> None:
    import importlib
    import inspect
    import pkgutil

    for found in pkgutil.iter_modules(errors.__path__):
        module = importlib.import_module(f"registry.errors.{found.name}")
        for name, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, errors.RegistryError):
                assert getattr(errors, name) is value
                assert value.__doc__


@pytest.mark.parametrize("name", ["out.pth", "out.pt", "OUT.CKPT", "out.bin"])
def test_an_export_to_a_file_of_torch_is_one(name: str, hub: registry.Registry, tmp_path: Path) -> None:
    truth = PointNet()
    hub.push(truth, "net")
    assert same(torch.load(hub.export("net", tmp_path / name), weights_only=True), truth.state_dict())


@pytest.mark.parametrize(
    ("name", "format", "says"),
    [
        ("out.pth", "safetensors", r"'\.pth' is not; use \.safetensors"),
        ("out.safetensors", "ddp", r"'\.safetensors' is not; use \.pth"),
        ("out.onnx", None, r"'\.onnx' is of no format written here"),
    ],
)
def test_an_export_whose_suffix_says_another_format_is_refused(
    name: str, format: str | None, says: str, hub: registry.Registry, tmp_path: Path
) -> None:
    hub.push(PointNet(), "net")
    with pytest.raises(errors.CannotExport, match=says):
        hub.export("net", tmp_path / name, format=format)
    assert not (tmp_path / name).exists()
