"""Checkpoints of several files: shards with an index, distributed directories, DeepSpeed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import Ranks
from safetensors.torch import save_file, save_model
from written import same, saved

from registry.checkpoints.opening import open_checkpoint
from registry.errors import (
    DamagedCheckpoint,
    EmptyCheckpoint,
    MissingShard,
    NotACheckpoint,
    OneShard,
    SavedTwice,
    ShardedTensors,
    UnknownFolder,
    ZeroShards,
)

STATE = {f"layer.{i}.weight": torch.arange(12.0).reshape(3, 4) + i for i in range(6)}


def sharded(folder, suffix: str):
    names = list(STATE)
    shards: dict[str, Any] = {}
    for number in range(3):
        file = f"{'model' if suffix == 'safetensors' else 'pytorch_model'}-{number + 1:05d}-of-00003.{suffix}"
        part = {name: STATE[name] for name in names[number::3]}
        shards |= dict.fromkeys(part, file)
        save_file(part, folder / file) if suffix == "safetensors" else torch.save(part, folder / file)
    index = "model.safetensors.index.json" if suffix == "safetensors" else "pytorch_model.bin.index.json"
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": {name: shards[name] for name in names}}))
    return folder / index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_by_their_folder_and_by_their_index(tmp_path, suffix):
    index = sharded(tmp_path, suffix)
    for path in (tmp_path, index):
        weights = open_checkpoint(path).weight_sets[0]
        assert list(weights.tensors) == list(STATE)
        assert all(same(weights.tensors[name], tensor) for name, tensor in STATE.items())


def test_a_missing_shard_is_named_and_one_shard_alone_is_refused(tmp_path):
    sharded(tmp_path, "safetensors")
    with pytest.raises(OneShard, match="one shard of 3"):
        open_checkpoint(tmp_path / "model-00001-of-00003.safetensors")
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(MissingShard, match=r"model-00002-of-00003.safetensors is missing, which holds 2"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_of_two_saves_in_one_folder_the_user_says_which_is_meant(tmp_path, hub, suffix):
    folder = tmp_path / "saved"
    folder.mkdir()
    index = sharded(folder, suffix)
    other = {name: tensor + 1 for name, tensor in STATE.items()}
    whole = folder / ("model.safetensors" if suffix == "safetensors" else "pytorch_model.bin")
    save_file(other, whole) if suffix == "safetensors" else torch.save(other, whole)
    with pytest.raises(SavedTwice, match=f"--weights {whole.name}, or --weights . for the shards"):
        hub.push(folder, "net")
    for chosen, state in ((".", STATE), (whole.name, other)):
        held = hub.state_dict(hub.push(folder, "net", weights=chosen).ref)
        assert held.keys() == state.keys() and all(torch.equal(held[name], state[name]) for name in state)
    for shard in folder.glob("*-of-*"):
        shard.unlink()  # as a later save_pretrained of one file leaves it
    entry = hub.push(folder, "left")
    assert torch.equal(hub.state_dict("left")["layer.0.weight"], other["layer.0.weight"])
    assert any(f"'{index.name}' is of an earlier save" in notice for notice in entry.notices)
    [line] = hub.import_folder(folder).lines
    assert line.verdict == "already there"


@pytest.mark.parametrize(
    "weight_map", [{"a": "../secret.pth"}, {"a": "/etc/passwd"}, {"a": ".."}, {"a": 3}, [], {}, {"other": "m.pth"}]
)
def test_an_index_that_lies_is_refused(tmp_path, weight_map):
    saved(tmp_path / "m.pth", {"a": torch.zeros(1)})
    saved(tmp_path.parent / "secret.pth", {"a": torch.zeros(1)})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(DamagedCheckpoint):
        open_checkpoint(tmp_path)


def test_single_files_of_transformers_and_accelerate_folders(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    saved(tmp_path / "optimizer.bin", {"state": {}, "param_groups": []})
    assert len(open_checkpoint(tmp_path).weight_sets[0].tensors) == 6


def test_names_that_save_model_dropped_are_told(tmp_path):
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})
    module["b"].weight = module["a"].weight
    save_model(module, tmp_path / "m.safetensors")
    assert open_checkpoint(tmp_path / "m.safetensors").weight_sets[0].aliases == {"b.weight": "a.weight"}


def test_two_empty_tensors_of_a_safetensors_file_are_not_tied(tmp_path):
    save_file({"a": torch.zeros(0, 3), "b": torch.zeros(0, 3), "c": torch.ones(1)}, tmp_path / "m.safetensors")
    tensors = open_checkpoint(tmp_path / "m.safetensors").weight_sets[0].tensors
    assert tensors["a"].identity != tensors["b"].identity


def test_other_folders_are_refused_with_what_is_in_them(tmp_path):
    saved(tmp_path / "epoch_3.pth", STATE)
    with pytest.raises(UnknownFolder, match=r"epoch_3\.pth"):
        open_checkpoint(tmp_path)


def test_deepspeed_folders(tmp_path):
    step = tmp_path / "global_step7"
    step.mkdir()
    (tmp_path / "latest").write_text("global_step7")
    with pytest.raises(DamagedCheckpoint, match="model_states"):
        open_checkpoint(tmp_path)
    saved(step / "mp_rank_00_model_states.pt", {"module": STATE, "dp_world_size": 4, "ds_version": "0.15"})
    saved(step / "zero_pp_rank_0_mp_rank_00_optim_states.pt", {})
    for path in (tmp_path, step):
        checkpoint = open_checkpoint(path)
        assert len(checkpoint.weight_sets[0].tensors) == 6
        assert checkpoint.facts == {"framework": "deepspeed", "world_size": 4}
    saved(step / "zero_pp_rank_0_mp_rank_00_model_states.pt", {"module": {}})
    with pytest.raises(ZeroShards, match=r"zero_to_fp32\.py"):
        open_checkpoint(tmp_path)
    (tmp_path / "latest").write_text("../..")
    with pytest.raises(DamagedCheckpoint, match="latest"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        {"module": STATE, "dp_world_size": 2, "mp_world_size": 2},
        {"module": {"w": torch.zeros(0)}, "param_shapes": [{"w": torch.Size([4])}], "dp_world_size": 2},
    ],
    ids=["tensor parallel", "ZeRO-3"],
)
def test_one_rank_s_file_of_deepspeed_is_refused(tmp_path, value):
    with pytest.raises(ZeroShards, match=r"zero_to_fp32\.py"):
        open_checkpoint(saved(tmp_path / "model_states.pt", value))


def test_pieces_in_safetensors_are_refused(tmp_path):
    save_file(STATE, tmp_path / "m.safetensors", {"DCP_SHARDING_INFO": "{}"})
    with pytest.raises(ShardedTensors, match="holds only a part"):
        open_checkpoint(tmp_path / "m.safetensors")


def write_distributed(rank: int, folder: Path) -> None:
    """Save a sharded model and optimizer as a directory, and beside it what the model was."""
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.Linear(5, 3), torch.nn.BatchNorm1d(3))
    if rank == 0:
        torch.save(model.state_dict(), folder / "truth.pth")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters())
    model_state, optimizer_state = get_state_dict(model, optimizer)
    wide = distribute_tensor(torch.arange(30.0).reshape(5, 6), mesh, [Shard(1)])
    dcp.save(
        {"model": model_state, "optim": optimizer_state, "epoch": 5, "extra": {"wide": wide}},
        checkpoint_id=folder / "dcp",
    )


@pytest.fixture(scope="module")
def distributed(ranks: Ranks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    ranks.run(write_distributed, folder, world=3)
    return folder


def test_a_distributed_directory_of_three_ranks_is_read_without_them(distributed):
    checkpoint = open_checkpoint(distributed / "dcp")
    assert [weights.key for weights in checkpoint.weight_sets] == ["model", "extra"]
    truth = torch.load(distributed / "truth.pth", weights_only=True)
    tensors = checkpoint.weight_sets[0].tensors
    assert sorted(tensors) == sorted(truth) and all(same(tensors[name], t) for name, t in truth.items())
    assert same(checkpoint.weight_sets[1].tensors["wide"], torch.arange(30.0).reshape(5, 6))
    assert checkpoint.training["epoch"] == 5 and "optim" in checkpoint.training


def test_a_file_of_a_distributed_directory_stands_for_the_directory_or_is_refused(distributed):
    assert len(open_checkpoint(distributed / "dcp/.metadata").weight_sets) == 2
    with pytest.raises(NotACheckpoint, match="give its folder"):
        open_checkpoint(distributed / "dcp/__0_0.distcp")


def test_a_distributed_directory_that_is_not_whole_is_refused(distributed, tmp_path):
    metadata = (distributed / "dcp/.metadata").read_bytes()
    (tmp_path / ".metadata").write_bytes(metadata)
    with pytest.raises(MissingShard, match=r"__\d_0.distcp is missing"):
        open_checkpoint(tmp_path)
    for file in (distributed / "dcp").glob("*.distcp"):
        (tmp_path / file.name).write_bytes(file.read_bytes()[:100])
    with pytest.raises(DamagedCheckpoint, match="beyond the end"):
        open_checkpoint(tmp_path)
    for attack in (metadata[: len(metadata) // 2], pickle.dumps({"a": 1}), b"cos\nsystem\n(S'true'\ntR.", b"\0" * 9):
        (tmp_path / ".metadata").write_bytes(attack)
        with pytest.raises(DamagedCheckpoint, match=r"\.metadata"):
            open_checkpoint(tmp_path)


def test_an_empty_safetensors_file_says_so(tmp_path):
    save_file({}, tmp_path / "m.safetensors")
    with pytest.raises(EmptyCheckpoint, match="no tensors"):
        open_checkpoint(tmp_path / "m.safetensors")
