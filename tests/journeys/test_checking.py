"""What sits in a live module now, or in a file, against what was stored: found by bits, whatever surrounds it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from nets import Counting, OnlyChild, PointNet, Tied
from safetensors.torch import save_file
from torch import nn

import registry
from registry import errors
from registry.reference import is_path


@pytest.fixture
def net(hub: registry.Registry) -> PointNet:
    """A model whose weights are stored as ``net:v1``."""
    model = PointNet()
    hub.push(model, "net")
    return model


def file_of(folder: Path, content: object, name: str = "best.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def test_weights_initialized_anew_after_a_load_are_found(hub: registry.Registry, net: PointNet) -> None:
    model = PointNet()
    assert hub.check(hub.load("net", model=model), "net").is_equal
    model.head.reset_parameters()
    report = hub.check(model, "net:v1")
    assert report.differs == ("head.weight", "head.bias") and not report.is_equal
    with pytest.raises(errors.WeightsDiffer, match=r"PointNet .* net:v1: 2 tensors differ: 'head.weight', 'head.bias'"):
        report.require()


@pytest.mark.parametrize(
    "wrap",
    [nn.DataParallel, torch.compile, torch.optim.swa_utils.AveragedModel, lambda m: torch.compile(nn.DataParallel(m))],
)
def test_a_wrapper_around_the_model_changes_nothing(hub: registry.Registry, net: PointNet, wrap) -> None:
    assert hub.check(wrap(net), "net").is_equal
    with torch.no_grad():
        net.get_parameter("submodule.bias")[0] += 1
    assert hub.check(wrap(net), "net").differs == ("submodule.bias",)


def test_what_belongs_to_a_wrapper_is_not_the_models(hub: registry.Registry, net: PointNet, tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(net)
    path = file_of(tmp_path, averaged.state_dict())
    hub.push(averaged, "averaged")
    for against in (path, "averaged"):
        assert hub.check(net, against).is_equal and hub.check(averaged, against).is_equal
        assert hub.check("net", against).is_equal


def averaged(net: nn.Module, count: int) -> nn.Module:
    model = torch.optim.swa_utils.AveragedModel(net)
    model.n_averaged.fill_(count)
    return model


@pytest.mark.parametrize("form", ["version", "file", "version of a file"])
def test_what_a_wrapper_owns_is_compared_in_the_same_wrapper(
    form: str, hub: registry.Registry, net: PointNet, tmp_path: Path
) -> None:
    path = file_of(tmp_path, averaged(net, 7).state_dict())
    kinds: dict[str, str | Path] = {"version": "averaged", "file": path}
    against = kinds.get(form, "of-a-file")
    hub.push(averaged(net, 7), "averaged")
    hub.push(path, "of-a-file")
    same, other, bare = (hub.check(m, against) for m in (averaged(net, 7), averaged(net, 8), net))
    assert same.is_equal and same.wrappers_equal == ("n_averaged",)
    assert not other.is_equal and other.wrappers_differ == ("n_averaged",) and not other.differs
    with pytest.raises(errors.WeightsDiffer, match="n_averaged"):
        other.require()
    assert bare.is_equal and bare.wrappers_unmatched == ("n_averaged",)


def test_what_wrappers_own_is_compared_between_stored_things(
    hub: registry.Registry, net: PointNet, tmp_path: Path
) -> None:
    hub.push(averaged(net, 7), "averaged")
    for count, is_equal in ((7, True), (8, False)):
        path = file_of(tmp_path, averaged(net, count).state_dict(), f"{count}.pth")
        assert hub.check("averaged", path).is_equal is is_equal
        assert hub.check(path, "averaged").is_equal is is_equal
    assert hub.check(tmp_path / "7.pth", tmp_path / "8.pth").wrappers_differ == ("n_averaged",)
    assert hub.check("net", "averaged").wrappers_unmatched == ("n_averaged",)


class Tempered(nn.DataParallel):
    """A wrapper of somebody's own, with a parameter and an extra state."""

    def __init__(self, module: nn.Module, temperature: float, schedule: str) -> None:
        super().__init__(module)
        self.temperature = nn.Parameter(torch.tensor([temperature]))
        self.schedule = schedule

    def get_extra_state(self) -> object:
        return {"schedule": self.schedule}

    def set_extra_state(self, state: object) -> None: ...


def test_what_a_wrapper_inside_a_model_owns_is_compared_by_its_path(hub: registry.Registry) -> None:
    head = Tempered(nn.Linear(2, 2), 0.5, "cosine")
    model = nn.ModuleDict({"head": head})
    hub.push(model, "tempered")
    assert hub.check(model, "tempered").wrappers_equal == ("head.temperature", "head._extra_state")
    head.schedule = "linear"
    assert hub.check(model, "tempered").wrappers_differ == ("head._extra_state",)
    assert hub.check(model, "tempered", names=["head.weight"]).is_equal
    assert hub.check(model, "tempered", names="head.temp*").wrappers_equal == ("head.temperature",)
    with torch.no_grad():
        head.temperature.fill_(0.25)
    assert hub.check(model, "tempered").wrappers_differ == ("head.temperature", "head._extra_state")


def test_a_wrapped_part_is_known_by_its_type(hub: registry.Registry, net: Any) -> None:
    net.features = nn.DataParallel(net.features)
    assert hub.check(net, "net").is_equal


def test_a_file_is_checked_without_any_registry(tmp_path: Path, home: Path) -> None:
    model = PointNet()
    path = file_of(tmp_path, {"epoch": 3, "state_dict": {f"module.{n}": t for n, t in model.state_dict().items()}})
    assert registry.check(model, path).is_equal
    assert registry.check(model, str(path)).equal == tuple(model.state_dict())
    assert registry.check(PointNet(), path).differs
    assert not home.exists()


def test_the_module_is_the_judge_of_names_that_look_wrapped(tmp_path: Path, hub: registry.Registry) -> None:
    model = OnlyChild()
    assert hub.check(model, file_of(tmp_path, model.state_dict())).is_equal
    wrapped = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    assert hub.check(model, file_of(tmp_path, wrapped)).equal == ("module.weight", "module.bias")


def in_shards(state: dict[str, torch.Tensor], folder: Path) -> None:
    places = {name: f"model-{number % 2 + 1:05d}-of-00002.safetensors" for number, name in enumerate(state)}
    for file in set(places.values()):
        save_file({name: state[name] for name in state if places[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


@pytest.mark.parametrize(
    "write",
    [
        lambda state, folder: save_file(state, folder / "model.safetensors"),
        lambda state, folder: torch.save(state, folder / "pytorch_model.bin"),
        in_shards,
        lambda state, folder: dcp.save(state, checkpoint_id=folder, no_dist=True),
    ],
    ids=["one file", "torch", "shards", "distributed"],
)
def test_a_folder_is_checked_as_a_file_is(hub: registry.Registry, net: PointNet, tmp_path: Path, write: Any) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write(dict(net.state_dict()), folder)
    for one, other in ((net, folder), ("net", folder), (folder, "net"), (folder, folder)):
        assert hub.check(one, other).is_equal
    with torch.no_grad():
        net.head.bias[0] += 1
    assert hub.check(net, folder).differs == ("head.bias",)


def test_a_file_with_more_and_fewer_names_is_compared_in_what_both_have(tmp_path: Path, hub: registry.Registry) -> None:
    model = PointNet()
    state = {f"net.{name}": tensor for name, tensor in model.state_dict().items() if name != "head.bias"}
    report = hub.check(model, file_of(tmp_path, {"state_dict": {**state, "loss.scale": torch.ones(2)}}))
    assert report.missing == ("head.bias",) and report.unexpected == ("loss.scale",)
    assert len(report.equal) == len(state) and not report.differs


def test_of_several_sets_the_one_with_the_models_names_is_taken(tmp_path: Path, hub: registry.Registry) -> None:
    model = PointNet()
    path = file_of(tmp_path, {"generator": model.state_dict(), "discriminator": Tied().state_dict()})
    assert hub.check(model, path).is_equal
    both = file_of(tmp_path, {"model": model.state_dict(), "ema": PointNet().state_dict()})
    with pytest.raises(errors.SeveralWeightSets):
        hub.check(model, both)
    assert hub.check(model, both, weights="model").is_equal
    assert hub.check(model, both, weights="ema").differs


def test_a_cast_is_told_from_other_values_to_the_bit(hub: registry.Registry, net: PointNet) -> None:
    half = copy.deepcopy(net).to(torch.bfloat16)
    report = hub.check(half, "net")
    assert report.cast["head.weight"] == ("float32", "bfloat16") and report.is_equal
    assert report.equal == ("features.1.num_batches_tracked",)
    with torch.no_grad():
        half.head.weight.view(torch.int16)[0, 0] += 1
    report = hub.check(half, "net")
    assert report.differs == ("head.weight",) and "head.weight" not in report.cast
    assert report.types["head.weight"] == ("float32[5, 8]", "bfloat16[5, 8]")


def test_bits_decide_and_not_numbers(hub: registry.Registry) -> None:
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[float("nan"), 0.0]]))
    hub.push(model, "odd")
    assert hub.check(copy.deepcopy(model), "odd").is_equal
    with torch.no_grad():
        model.weight[0, 1] = -0.0
    assert hub.check(model, "odd").differs == ("weight",)


def test_a_tie_that_is_gone_is_found_though_all_values_are_equal(hub: registry.Registry, tmp_path: Path) -> None:
    tied = Tied()
    hub.push(tied, "tied")
    apart = Tied(tie=False)
    apart.load_state_dict(tied.state_dict())
    for against in ("tied", file_of(tmp_path, tied.state_dict())):
        assert hub.check(tied, against).is_equal
        report = hub.check(apart, against)
        assert report.retied == (("embed.weight", "head.weight"),) and not report.is_equal
        assert len(report.equal) == 2


def test_a_tied_name_that_the_file_dropped_is_the_one_it_kept(hub: registry.Registry, tmp_path: Path) -> None:
    tied = Tied()
    path = file_of(tmp_path, {"embed.weight": tied.embed.weight.detach()})
    assert hub.check(tied, path).is_equal
    assert hub.check(tied.bfloat16(), path).cast.keys() == {"embed.weight", "head.weight"}


def test_extra_states_are_compared(hub: registry.Registry) -> None:
    model = Counting()
    hub.push(model, "counting")
    assert hub.check(model, "counting").is_equal

    model.steps = 7
    assert hub.check(model, "counting").differs == ("_extra_state",)


def test_what_a_class_keeps_otherwise_than_as_tensors_is_compared_or_refused(
    hub: registry.Registry, tmp_path: Path
) -> None:
    class Packed(nn.Module):
        packed: object = (1, 2.5)

        def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination[prefix + "packed"] = self.packed

    part = Packed()
    model = nn.Sequential(nn.Linear(2, 2), part)
    path = file_of(tmp_path, {"epoch": 3, **model.state_dict()})
    hub.push(model, "packed")
    for against in (path, "packed"):
        part.packed = (1, 2.5)
        assert hub.check(model, against).is_equal
        part.packed = (1, 2.75)
        assert hub.check(model, against).differs == ("1.packed",)
    part.packed = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), None
    with pytest.raises(errors.UnencodableValue, match="packed"):
        hub.check(model, file_of(tmp_path, model.state_dict()))


def test_counters_that_old_files_lack_count_as_zero(hub: registry.Registry, tmp_path: Path) -> None:
    model = PointNet()
    path = file_of(tmp_path, {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")})
    assert hub.check(model, path).is_equal
    model.get_buffer("features.1.num_batches_tracked").add_(1)
    assert hub.check(model, path).missing == ("features.1.num_batches_tracked",)


COUNTER = "features.1.num_batches_tracked"


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("wrapped", ["", "module."])
def test_every_way_of_a_check_takes_the_counters_of_old_files_alike(
    hub: registry.Registry, tmp_path: Path, count: int, wrapped: str
) -> None:
    model = PointNet()
    model.features.get_buffer("1.num_batches_tracked").add_(count)
    new = {f"{wrapped}{name}": tensor for name, tensor in model.state_dict().items()}
    old = {name: tensor for name, tensor in new.items() if not name.endswith("num_batches_tracked")}
    hub.push(model, "new")
    hub.push(old, "old", from_="ddp" if wrapped else "single")
    torch.save(new, tmp_path / "new.pth")
    torch.save(old, tmp_path / "old.pth")
    olds = ("old", tmp_path / "old.pth")
    for mine in (model, "new", tmp_path / "new.pth"):
        for theirs in olds:
            report = hub.check(mine, theirs)
            assert report.missing == ((COUNTER,) if count else ()) and report.is_equal == (not count)
            assert (COUNTER in report.equal) == (not count)
    for mine in olds:
        for theirs in ("new", tmp_path / "new.pth"):
            report = hub.check(mine, theirs)
            assert report.unexpected == ((COUNTER,) if count else ()) and report.is_equal == (not count)


def test_a_counter_that_a_file_lost_is_missed_as_a_load_misses_it(hub: registry.Registry, tmp_path: Path) -> None:
    model = PointNet()
    state = model.state_dict()
    del state[COUNTER]  # whose metadata say that the batch normalization had it
    torch.save(state, tmp_path / "lost.pth")
    torch.save(model.state_dict(), tmp_path / "new.pth")
    hub.push(state, "lost")
    for lost in ("lost", tmp_path / "lost.pth"):
        assert hub.check(model, lost).missing == (COUNTER,)
        assert hub.check(tmp_path / "new.pth", lost).missing == (COUNTER,)
    with pytest.raises(errors.MissingTensors, match="num_batches_tracked"):
        hub.load("lost", model=PointNet())


def test_a_tensor_that_is_only_called_like_a_counter_is_none(hub: registry.Registry, tmp_path: Path) -> None:
    plain = {"fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)}
    beside = {"fc.running_mean": torch.ones(2), "fc.running_var": torch.ones(2)}
    counter = {"fc.num_batches_tracked": torch.tensor(0)}
    for number, (more, less) in enumerate(
        (
            ({**plain, **counter}, plain),
            ({**plain, **beside, "fc.num_batches_tracked": torch.zeros(2, dtype=torch.long)}, {**plain, **beside}),
            ({**plain, **beside, "fc.num_batches_tracked": torch.tensor(0.0)}, {**plain, **beside}),
        )
    ):
        torch.save(more, tmp_path / f"{number}.pth")
        torch.save(less, tmp_path / f"{number}-less.pth")
        report = hub.check(tmp_path / f"{number}.pth", tmp_path / f"{number}-less.pth")
        assert report.missing == ("fc.num_batches_tracked",)


def test_another_shape_differs_and_a_module_without_values_holds_nothing(hub: registry.Registry, net: PointNet) -> None:
    report = hub.check(PointNet(num_classes=7), "net", names=["head.*"])
    assert report.types["head.bias"] == ("float32[5]", "float32[7]") and not report.equal
    assert not hub.check(copy.deepcopy(net).to("meta"), "net").equal
    lazy = nn.Sequential(nn.LazyLinear(2))
    hub.push(nn.Sequential(nn.Linear(3, 2)), "linear")
    assert hub.check(lazy, "linear").differs == ("0.weight", "0.bias")


def test_patterns_narrow_what_is_compared_and_must_match(hub: registry.Registry, net: PointNet) -> None:
    net.head.reset_parameters()
    assert hub.check(net, "net", names=["features.*", "submodule.*"]).is_equal
    assert hub.check(net, "net", names="head.weight").differs == ("head.weight",)
    with pytest.raises(errors.NothingToCheck, match=r"'encoder\.\*' matches no name"):
        hub.check(net, "net", names=["features.*", "encoder.*"])


def test_what_a_load_took_unchecked_from_a_damaged_blob_differs(hub: registry.Registry, net: PointNet) -> None:
    blob = next((hub.home / "blobs").rglob("*.safetensors"))
    blob.chmod(0o644)
    content = bytearray(blob.read_bytes())
    content[-4] ^= 1
    blob.write_bytes(content)
    model = hub.load("net", model=PointNet(), verify="never")
    assert len(hub.check(model, "net").differs) == 1


def test_a_file_with_damaged_bytes_is_not_called_equal(hub: registry.Registry, tmp_path: Path) -> None:
    model = nn.Linear(64, 64)
    path = file_of(tmp_path, model.state_dict())
    content = path.read_bytes()
    position = content.index(model.weight.detach().numpy().tobytes()[:64])
    path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
    with pytest.raises(errors.DamagedCheckpoint):
        hub.check(model, path)


def test_a_version_is_compared_with_a_file_without_its_class(hub: registry.Registry, tmp_path: Path) -> None:
    model = PointNet()
    wrapped = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    hub.push(file_of(tmp_path, wrapped), "net", from_="ddp", model="nets:PointNet")
    bare = file_of(tmp_path, {"model": model.state_dict()}, "bare.pth")
    for a, b in (("net", bare), (bare, "net:v1"), (bare, tmp_path / "best.pth"), ("net", "net:v1")):
        assert hub.check(a, b).is_equal
    half = file_of(tmp_path, copy.deepcopy(model).half().state_dict(), "half.pth")
    assert "head.bias" in hub.check("net", half).differs, "a stored dtype is nobody's choice"


@pytest.mark.parametrize("text", ["/x", "./x", "../x", "~/x", "a.pth", "runs/a.PT", "a.safetensors", "m.ckpt", "a.tar"])
def test_what_is_spelled_as_a_path_is_one_whatever_the_disk_holds(text: str) -> None:
    assert is_path(text) and is_path(Path("net"))


@pytest.mark.parametrize("text", ["net", "net:v1", "team/net", "net:best", "net@abcd", "net.v2", "pth", "net:v1.5"])
def test_all_else_is_a_reference_whatever_the_disk_holds(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").touch()
    assert not is_path(text)


def test_a_check_of_no_names_confirms_nothing(hub: registry.Registry) -> None:
    model = nn.Linear(2, 2)
    hub.push(model, "net")
    with pytest.raises(errors.NothingToCheck):
        hub.check(model, "net", names=[])
