"""Weights beside weights, parts of a whole, and files beside a model: chosen by the user, refused, or named."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from nets import PointNet, Twins
from safetensors.torch import save_file
from torch import nn

import registry
from registry import errors


def small(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)).state_dict()


def adam(*, steps: int = 1) -> tuple[nn.Module, torch.optim.Optimizer]:
    net = Twins()
    optimizer = torch.optim.Adam(net.parameters())
    for _ in range(steps):
        net(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    return net, optimizer


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


SEVERAL: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a loss with weights": ({"trunk": small(), "metric_fc": small(1)}, ("'trunk' (4 ten", "'metric_fc' (4 tensors)")),
    "heads in a tuple": ({"trunk": small(), "branches": (small(1), small(2))}, ("'branches/0'", "'branches/1'")),
    "deeper than anybody looks": ({"a": {"b": {"c": {"d": {"e": small()}}}}, "f": small(1)}, ("'a/b/c/d/e'", "'f'")),
    "dicts by number": ({0: small(), 1: small(1)}, ("'0' (4 tensors)", "'1' (4 tensors)")),
    "modules in modules": (
        {"net": {"text": {"tokens": {"weight": torch.ones(4, 2)}}, "image": {"proj.weight": torch.ones(2, 2)}}},
        ("'net/text/tokens' (1 tensor)", "'net/image' (1 tensor)"),
    ),
    "statistics around a net": (
        {"net": small(), "mu": torch.zeros(3), "sigma": torch.ones(3), "iters": 7},
        ("'net' (4 tensors)", "'.' (all 6 tensors, with 'mu', 'sigma' beside the others)"),
    ),
    "in the dict of an optimizer": (
        {**adam()[1].state_dict(), "net": small(), "teacher": small(1)},
        ("'net' (4 tensors)", "'teacher' (4 tensors)"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SEVERAL)
@pytest.mark.parametrize("in_memory", [False, True], ids=["file", "memory"])
def test_several_sets_of_weights_are_the_user_s_to_choose(
    case: str, in_memory: bool, hub: registry.Registry, tmp_path: Path
) -> None:
    value, words = SEVERAL[case]
    with pytest.raises(errors.SeveralWeightSets) as refusal:
        hub.push(value if in_memory else saved(tmp_path / "a.pt", value), "net")
    assert all(word in str(refusal.value) for word in words)
    for key, count in refusal.value.counts.items():
        assert hub.push(value, f"by_{count}", weights=key, force_new=True).tensor_count == count


HONEST: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "a name with 'optim' in it": ({"optimal_net": small()}, {}),
    "a name with 'meter' in it": ({"parameters": small()}, {}),
    "a name with 'sched' in it": ({"scheduled_sampler": small(), "epoch": 3}, {}),
    "a name with 'config' in it": ({"configured": {"net": small()}}, {}),
    "counters, losses and random states": (
        {
            "model": small(),
            "loss": torch.tensor(0.3),
            "seen": torch.tensor([5]),
            "split": torch.arange(9),
            "rng": {"cpu": torch.get_rng_state(), "cuda": [torch.zeros(16, dtype=torch.uint8)]},
            "ema": {"decay": torch.tensor(0.999)},
        },
        {"loss": 1, "seen": 1, "split": 1, "rng": 2, "ema": 1},
    ),
    "class weights among the hyperparameters": (
        {"state_dict": small(), "hyper_parameters": {"lr": 0.1, "class_weights": torch.ones(5)}},
        {"hyper_parameters": 1},
    ),
    "an average without names": (
        {"model": small(), "ema": {"decay": 0.9, "collected": None, "shadow_params": [*small(1).values()]}},
        {"ema": 4},
    ),
    "an array": ({"model": small(), "args": argparse.Namespace(lr=1, priors=numpy.ones(3))}, {"args": 1}),
    "two optimizers": (
        {"net": small(), "opt_d": adam()[1].state_dict(), "opt_g": adam()[1].state_dict()},
        {"opt_d": 12, "opt_g": 12},
    ),
}


@pytest.mark.parametrize("case", HONEST)
@pytest.mark.parametrize("in_memory", [False, True], ids=["file", "memory"])
def test_one_set_is_stored_and_the_rest_is_named(
    case: str, in_memory: bool, hub: registry.Registry, tmp_path: Path
) -> None:
    value, beside = HONEST[case]
    source = value if in_memory else saved(tmp_path / "a.pt", value)
    assert hub.inspect(source).left_out == beside
    entry = hub.push(source, "net")
    stored = hub.state_dict("net")
    assert all(torch.equal(stored[name], tensor) for name, tensor in small().items()) and len(stored) == 4
    said = " ".join(entry.notices)
    assert all(f"'{name}' ({number} tensor" in said for name, number in beside.items())
    assert ("not stored" in said) == bool(beside)


@pytest.mark.parametrize(
    ("weights", "names"),
    [
        ("trunk", {"0.weight", "0.bias", "2.weight", "2.bias"}),
        ("heads.1", {"w"}),
        ("heads/1", {"w"}),
        ("heads", {"0.w", "1.w"}),
        ("deep.er.net", {"conv.weight"}),
        ("deep", {"er.net.conv.weight"}),
        ("averages.online", {"w", "b"}),
        ("lone", {"lone"}),
    ],
)
def test_any_path_in_a_file_is_a_choice(weights: str, names: set[str], hub: registry.Registry, tmp_path: Path) -> None:
    value = {
        "trunk": small(),
        "heads": [{"w": torch.ones(2)}, {"w": torch.zeros(2)}],
        "deep": {"er": {"net": {"conv.weight": torch.ones(2, 2)}}, "steps": 4},
        "averages": {
            "online.w": torch.ones(2),
            "online.b": torch.ones(2),
            "mean.w": torch.ones(2),
            "n": torch.tensor(2),
        },
        "lone": torch.ones(3),
    }
    entry = hub.push(saved(tmp_path / "a.pt", value), "net", weights=weights)
    assert set(hub.state_dict(entry.ref)) == names
    assert sum(hub.inspect(tmp_path / "a.pt", weights=weights).left_out.values()) == 12 - len(names)


def test_a_choice_that_is_not_there_is_refused_with_those_that_are(hub: registry.Registry, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"trunk": small(), "heads": [small(1)]})
    with pytest.raises(errors.UnknownWeightSet, match=r"there is no 'tail' in it; it has 'trunk' .*'heads/0'"):
        hub.push(path, weights="tail")


def test_what_a_refused_module_advises_gives_its_weights(hub: registry.Registry, tmp_path: Path) -> None:
    truth = PointNet()
    path = saved(tmp_path / "best.pt", {"epoch": 3, "runs": [{"net": truth}]})
    with pytest.raises(errors.PickledModule, match="under 'runs/0/net'") as refusal:
        hub.push(path)
    lines = [line.strip() for line in str(refusal.value).splitlines() if line.startswith("    ")]
    made = tmp_path / "weights.pth"
    exec("\n".join(lines).replace('"weights.pth"', repr(str(made))), {"torch": torch})
    hub.push(made, "net")
    assert all(torch.equal(hub.state_dict("net")[name], tensor) for name, tensor in truth.state_dict().items())


def test_arrays_of_numpy_without_a_matrix_are_refused_as_such(hub: registry.Registry, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"round": 3, "global": {"w": numpy.ones(4), "b": numpy.ones(2)}})
    with pytest.raises(errors.ArraysOfNumpy, match="2 arrays of numpy under 'global'"):
        hub.push(path)


def part(folder: Path, name: str, value: Any = None) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    return saved(folder / name, value if value is not None else {"layers.0.weight": torch.ones(2, 3)})


PARTS = [
    (("consolidated.01.pth", "consolidated.00.pth"), None, "consolidated.00.pth"),
    (("iter_9/mp_rank_00/model.pt", "iter_9/mp_rank_01/model.pt"), None, "mp_rank_01"),
    (("iter_9/mp_rank_00_001/model.pt", "iter_9/mp_rank_00_000/model.pt"), None, "mp_rank_00_000"),
    (("mp_rank_00_model_states.pt", "mp_rank_03_model_states.pt"), None, "mp_rank_03_model_states.pt"),
    (("net(1).mp_rank_00.pt", "net(1).mp_rank_01.pt"), None, "mp_rank_01"),
    (("last-model_part-1.pt", "last-model_part-0.pt"), None, "last-model_part-0.pt"),
    (("one.pt",), {"net": small(), "args": argparse.Namespace(tensor_model_parallel_size=4)}, "model_parallel_size=4"),
    (("one.pt",), {"net": small(), "cfg": {"m": {"pipeline_model_parallel_size": 2}}}, "pipeline_.*size=2"),
    (("one.pt",), {"net": small(), "args": {"expert_model_parallel_size": 2}}, "expert_model_.*size=2"),
    (("one.pt",), {"net": small(), "args": {"expert_tensor_parallel_size": 8}}, "expert_tensor_.*size=8"),
    (("one.pt",), {"net": small(), "args": {"model_parallel_size": 2}}, "say model_parallel_size=2"),
]  # fmt: skip


@pytest.mark.parametrize(("names", "value", "says"), PARTS)
def test_one_rank_s_part_of_a_model_is_not_a_model(
    names: tuple[str, ...], value: Any, says: str, hub: registry.Registry, tmp_path: Path
) -> None:
    paths = [part(tmp_path, name, value) for name in names]
    with pytest.raises(errors.PartOfModel, match=says):
        hub.push(paths[0], "net")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("model-00001-of-000163.safetensors", errors.OneShard),
        ("pytorch_model_00002-of-00003.bin", errors.OneShard),
        ("consolidated.01.pth", errors.PartOfModel),
        ("mp_rank_01_model_states.pt", errors.PartOfModel),
        ("model_world_size_4_rank_0.pt", errors.PartOfModel),
        ("model-tp0-of-2.pt", errors.PartOfModel),
        ("part-1-of-3.pth", errors.PartOfModel),
        ("net_pp1-of-4.pt", errors.PartOfModel),
        ("net.tp_rank_02.pt", errors.PartOfModel),
        ("pp_rank_1.pt", errors.PartOfModel),
        ("ep_rank_3_model.pt", errors.PartOfModel),
        ("NET.SHARD1OF4.pt", errors.PartOfModel),
        ("2of1_shard1of4.pt", errors.PartOfModel),
        ("mp_0_of_8.pt", errors.PartOfModel),
        ("weights.shard0of8.pt", errors.PartOfModel),
        ("zero_pp_rank_0_mp_rank_00_optim_states.pt", errors.ZeroShards),
        ("bf16_zero_pp_rank_3_mp_rank_00_model_states.pt", errors.ZeroShards),
        ("layer_03-model_00-model_states.pt", errors.ZeroShards),
        ("__2_0.distcp", errors.NotACheckpoint),
    ],
)
def test_a_file_that_is_called_a_part_is_not_a_model(
    name: str, error: type[Exception], hub: registry.Registry, tmp_path: Path
) -> None:
    with pytest.raises(error):
        hub.push(part(tmp_path, name), "net")


def test_a_flat_parameter_of_fsdp_is_a_part(hub: registry.Registry, tmp_path: Path) -> None:
    with pytest.raises(errors.ShardedNames, match="flat_param"):
        hub.push(part(tmp_path, "a.pt", {"layers.0._flat_param": torch.ones(9)}), "net")


@pytest.mark.parametrize(
    "name", ["model_0-of-2.pt", "pytorch_model_1_of_4.bin", "net-02of04.pth", "rank0_of_8.pt", "step_3_of_10.pth",
             "epoch-3-of-10.pth", "ep3-of-10.pth", "fold1of5.pt", "4 of 4.pth", "net-00003-of-10.pt",
             "net-3-of-00010.pt"],
)  # fmt: skip
def test_a_file_whose_name_counts_it_is_marked_where_nothing_says_what_is_counted(
    name: str, hub: registry.Registry, tmp_path: Path
) -> None:
    [notice] = hub.push(part(tmp_path, name), "net").notices
    assert "if each of these files holds a part of one model, this is not all" in notice


@pytest.mark.parametrize("name", [
    "consolidated.00.pth", "mp_rank_00/model.pt", "net_ep10.pth", "resnet_1-of-a-kind.pth", "rank0_best.pth",
    "model-1-of-1.pth", "model-00001-of-00001.bin", "10-of-3.pth", "best_of_5.pth", "2of3d.pth", "proof7.pth",
    "turn3off5.pth", "v0of.pth",
])  # fmt: skip
def test_a_file_that_lies_alone_is_whole(name: str, hub: registry.Registry, tmp_path: Path) -> None:
    part(tmp_path, "net_ep20.pth")
    assert hub.push(part(tmp_path, name), "net").notices == ()


@pytest.mark.parametrize("degree", [1, 0, None, True, "auto", 2.5, [2]], ids=str)
def test_what_was_not_spread_or_does_not_say_over_how_many_is_whole(
    degree: object, hub: registry.Registry, tmp_path: Path
) -> None:
    value = {"net": small(), "args": {"tensor_model_parallel_size": degree}}
    assert hub.push(saved(tmp_path / "one.pt", value), "net").ref == "net:v1"


def test_a_file_is_not_beside_itself(hub: registry.Registry, tmp_path: Path) -> None:
    """The same number in other digits is no other rank."""
    part(tmp_path, "consolidated.0.pth", {"note": "an index"})
    assert hub.push(part(tmp_path, "consolidated.00.pth"), "net").notices == ()


@pytest.mark.parametrize("of", ["_rank", "-shard_", ".rank-"])
def test_files_of_other_ranks_are_told(of: str, hub: registry.Registry, tmp_path: Path) -> None:
    part(tmp_path, f"ckpt{of}1.pt")
    assert f"ckpt{of}1.pt" in hub.push(part(tmp_path, f"ckpt{of}0.pt"), "net").notices[0]


def test_a_word_that_only_ends_in_rank_tells_of_no_job(hub: registry.Registry, tmp_path: Path) -> None:
    part(tmp_path, "lowrank4.pt")
    assert hub.push(part(tmp_path, "lowrank8.pt"), "net").notices == ()


def test_a_folder_s_optimizer_comes_back_with_its_weights(hub: registry.Registry, tmp_path: Path) -> None:
    net, optimizer = adam()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    saved(tmp_path / "pytorch_model.bin", net.state_dict())
    saved(tmp_path / "optimizer.bin", optimizer.state_dict())
    saved(tmp_path / "scheduler.bin", scheduler.state_dict())
    saved(tmp_path / "random_states_0.pt", {"torch": torch.get_rng_state()})
    (tmp_path / "trainer_state.json").write_text(json.dumps({"global_step": 77, "epoch": 1.5}))
    entry = hub.push(tmp_path, "net", model="nets:Twins")
    assert entry.notices == ("not stored: 'random_states_0.pt' (1 tensor)",)
    fresh = Twins()
    again = torch.optim.Adam(fresh.parameters())
    resumed = hub.resume("net", fresh, again, torch.optim.lr_scheduler.StepLR(again, 2))
    assert resumed.step == 77 and again.state_dict()["state"].keys() == optimizer.state_dict()["state"].keys()


def test_other_weights_in_a_folder_are_named(hub: registry.Registry, tmp_path: Path) -> None:
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "checkpoint-5").mkdir()
    save_file(small(), tmp_path / "model.safetensors")
    save_file(small(1), tmp_path / "2_Dense/model.safetensors")
    saved(tmp_path / "checkpoint-5/optimizer.pt", adam()[1].state_dict())
    saved(tmp_path / "pytorch_model.bin", small(2))
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "tf_model.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "README.md").write_text("words")
    entry = hub.push(tmp_path, "net")
    said = " ".join(entry.notices)
    for name, number in (("2_Dense/model.safetensors", 4), ("checkpoint-5/optimizer.pt", 12), ("pytorch_model.bin", 4)):
        assert f"'{name}' ({number} tensors)" in said
    assert "'broken.pt', which cannot be read" in said and "HDF5" in said and "README" not in said
    dense = hub.push(tmp_path, "dense", weights="2_Dense/model.safetensors")
    assert torch.equal(hub.state_dict(dense.ref)["0.weight"], small(1)["0.weight"])


def test_shards_without_their_index_are_not_a_model(hub: registry.Registry, tmp_path: Path) -> None:
    save_file(small(), tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(errors.PartOfModel, match="index"):
        hub.push(tmp_path, "net")


def test_one_shard_that_is_all_of_them_is_a_file_like_any_other(hub: registry.Registry, tmp_path: Path) -> None:
    save_file(small(), tmp_path / "net-00001-of-00001.safetensors")
    with pytest.raises(errors.UnknownFolder, match="net-00001-of-00001"):
        hub.push(tmp_path, "net")
    assert hub.push(tmp_path / "net-00001-of-00001.safetensors", "net").notices == ()


def test_a_part_that_fits_the_class_is_offered(hub: registry.Registry, tmp_path: Path) -> None:
    live, mean = PointNet().state_dict(), PointNet().state_dict()
    average = {
        "n": torch.tensor(3),
        **{f"live.{k}": v for k, v in live.items()},
        **{f"mean.{k}": v for k, v in mean.items()},
    }
    path = saved(tmp_path / "a.pt", {"step": 3, "average": average})
    with pytest.raises(errors.ClassMismatch, match=r"'average\.live', 'average\.mean'.*--weights average\.mean"):
        hub.push(path, "net", model="nets:PointNet")
    hub.push(path, "net", model="nets:PointNet", weights="average.mean")
    assert all(torch.equal(hub.state_dict("net")[name], tensor) for name, tensor in mean.items())


def test_an_unpacked_file_of_torch_can_be_packed_again(hub: registry.Registry, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved(tmp_path / "a.pt", small())) as archive:
        archive.extractall(tmp_path / "best model")
    for place in (tmp_path / "best model", *(tmp_path / "best model").iterdir()):
        with pytest.raises(errors.UnpackedCheckpoint, match="packed") as refusal:
            hub.push(place, "net")
    if not shutil.which("zip"):
        return
    command = str(refusal.value).partition("pack it again: ")[2]
    subprocess.run(command, shell=True, check=True)
    hub.push(tmp_path / "best model/packed.pth", "net")
    assert torch.equal(hub.state_dict("net")["0.weight"], small()["0.weight"])


def test_other_archives_and_formats_are_called_what_they_are(hub: registry.Registry, tmp_path: Path) -> None:
    saved(tmp_path / "critic.pth", small())
    with zipfile.ZipFile(tmp_path / "agent.zip", "w") as archive:
        archive.writestr("data", "{}")
        archive.write(tmp_path / "critic.pth", "critic.pth", zipfile.ZIP_DEFLATED)
    with pytest.raises(errors.NotACheckpoint, match=r"a zip archive .* push the file inside .*critic\.pth"):
        hub.push(tmp_path / "agent.zip", "net")
    (tmp_path / "net.bin").write_bytes(b"\x08\x09\x12\x07pytorch\x1a\x052.5.0:\x10" + bytes(64))
    with pytest.raises(errors.NotACheckpoint, match="ONNX"):
        hub.push(tmp_path / "net.bin", "net")


def test_a_folder_of_parts_is_not_a_choice_of_files(hub: registry.Registry, tmp_path: Path) -> None:
    for number in range(2):
        part(tmp_path, f"consolidated.0{number}.pth")
    with pytest.raises(errors.PartOfModel, match="one of 2"):
        hub.push(tmp_path, "net")


def test_the_state_of_a_training_among_the_names_is_none_of_the_weights(hub: registry.Registry, tmp_path: Path) -> None:
    net, optimizer = adam()
    path = saved(tmp_path / "a.pt", {**net.state_dict(), "optimizer": optimizer.state_dict()})
    hub.push(path, "net", model="nets:Twins")
    fresh = Twins()
    hub.resume("net", fresh, torch.optim.Adam(fresh.parameters()))
    assert set(hub.state_dict("net")) == set(net.state_dict())
