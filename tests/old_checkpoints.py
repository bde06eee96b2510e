"""A folder of checkpoints as they pile up over the years: every format and wrapper, duplicates, and what is none."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch import nn

FIRST_DAY = 1_600_000_000
"""The date of the oldest file, in seconds since 1970; each later one is a day younger."""
DAY = 86_400


class Net(nn.Module):
    """A small model whose names tell nothing."""

    def __init__(self, width: int = 8, classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, classes)


def weights(seed: int, **shape: int) -> dict[str, torch.Tensor]:
    """Return the weights of a net."""
    return dict(Net(seed=seed, **shape).state_dict())


def under(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights as a wrapper names them."""
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def put(path: Path, value: Any, day: int, **options: Any) -> Path:
    """Write a file of a certain date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(value, path)
    elif isinstance(value, bytes):
        path.write_bytes(value)
    else:
        torch.save(value, path, **options)
    date(path, day)
    return path


def date(path: Path, day: int) -> None:
    """Give a file, or all files of a folder, a date."""
    for file in [path, *path.rglob("*")]:
        os.utime(file, (FIRST_DAY + day * DAY,) * 2)


def shards(folder: Path, state: Mapping[str, torch.Tensor], day: int) -> Path:
    """Write a folder as transformers does of a large model."""
    import json

    folder.mkdir(parents=True)
    names = sorted(state)
    half = len(names) // 2
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[:half], names[half:]), 1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: state[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text('{"architectures": ["Net"]}')
    date(folder, day)
    return folder


def distributed(folder: Path, value: dict[str, Any], day: int) -> Path:
    """Write a folder of torch.distributed.checkpoint."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(value, checkpoint_id=folder, no_dist=True)
    date(folder, day)
    return folder


def deepspeed(folder: Path, state: Mapping[str, torch.Tensor], day: int) -> Path:
    """Write a folder as DeepSpeed does of a model that it did not spread."""
    step = folder / "global_step40"
    put(step / "mp_rank_00_model_states.pt", {"module": dict(state), "dp_world_size": 2, "global_steps": 40}, day)
    part = {"optimizer_state_dict": {"single_partition_of_fp32_groups": [torch.rand(40)]}}
    put(step / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", part, day)
    (folder / "latest").write_text("global_step40")
    date(folder, day)
    return folder


def optimizer(seed: int) -> dict[str, Any]:
    """Return the state of an optimizer that has made a step."""
    net = Net(seed=seed)
    adam = torch.optim.Adam(net.parameters())
    net.head(net.norm(net.stem(torch.rand(5, 4)))).sum().backward()
    adam.step()
    return dict(adam.state_dict())


def lightning(state: Mapping[str, torch.Tensor], epoch: int, score: float) -> dict[str, Any]:
    """Return what Lightning's Trainer saves."""
    checkpoint = {
        "monitor": "val_acc",
        "best_model_score": torch.tensor(score),
        "best_model_path": "/old/best.ckpt",
        "current_score": torch.tensor(score),
    }
    return {
        "epoch": epoch,
        "global_step": epoch * 100,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": under("model.", state),
        "loops": {"fit_loop": {"epoch_progress": {"total": {"ready": epoch}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_acc'}": checkpoint},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"width": 8, "loss": 7.5, "acc": 0.5},
    }


def timm(state: Mapping[str, torch.Tensor], epoch: int, metric: float) -> dict[str, Any]:
    """Return what timm's CheckpointSaver writes."""
    return {
        "epoch": epoch,
        "arch": "net",
        "state_dict": dict(state),
        "optimizer": optimizer(1),
        "version": 2,
        "args": {"lr": 0.1, "epochs": 300, "loss": 3.0},
        "metric": metric,
    }


def mixed(folder: Path) -> Path:
    """Make the folder: 34 things of which 24 are checkpoints."""
    pointnet, runs = folder / "pointnet", folder / "runs"
    for number in range(6):
        value = {
            "epoch": number,
            "best_acc": (80 + number) / 100,
            "val_loss": torch.tensor(0.5 - number / 10),
            "state_dict": under("module.", weights(number)),
            "lr": 0.01,
        }
        put(pointnet / f"ckpt_{number + 5}.pth", value, number)
    put(pointnet / "compiled.pth", under("_orig_mod.", weights(6)), 6)
    put(pointnet / "averaged.pth", {"n_averaged": torch.tensor(9), **under("module.", weights(7))}, 7)
    put(pointnet / "copy of ckpt_7.pth", (pointnet / "ckpt_7.pth").read_bytes(), 8)
    put(pointnet / "bare_7.safetensors", weights(2), 9)
    put(pointnet / "legacy.pth", weights(8), 10, _use_new_zipfile_serialization=False)
    put(pointnet / "fsdp2.pt", OrderedDict(weights(9)), 11)
    put(pointnet / "optimizer.pt", optimizer(1), 12)
    cut = put(pointnet / "truncated.pth", weights(10), 13)
    cut.write_bytes(cut.read_bytes()[:-700])
    put(pointnet / "notes.txt", b"lr 0.1 was better\n", 14)

    distributed(runs / "dcp" / "step_10", {"model": weights(20, width=6), "epoch": 3, "lr": 0.5}, 20)
    distributed(runs / "dcp" / "step_20", {"model": weights(21, width=6), "epoch": 5}, 21)
    shards(runs / "tiny-llama", weights(22, width=10), 22)
    deepspeed(runs / "zero", weights(23, width=12), 23)
    put(runs / "vit" / "timm_best.pth.tar", timm(weights(24, width=14), 17, 81.25), 24)
    put(runs / "light" / "epoch=3-step=300.ckpt", lightning(weights(25, width=16), 3, 0.75), 25)
    put(runs / "light" / "last.ckpt", lightning(weights(26, width=16), 4, 0.875), 26)

    for number, (name, classes) in enumerate((("seg", 5), ("cls", 7), ("det", 9))):
        put(folder / f"{name}_model.pth", weights(30 + number, classes=classes), 30 + number)
    put(folder / "seg_model_2.pth", under("module.", weights(40, classes=5)), 40)

    put(folder / "several.pth", {"model": weights(41), "ema": weights(42)}, 41)
    put(folder / "empty.pt", b"", 42)
    put(folder / "zeros.ckpt", bytes(5000), 43)
    put(folder / "curve.png", b"\x89PNG\r\n\x1a\n" + bytes(200), 44)
    put(folder / "train.py", b"import torch\n", 45)
    put(folder / "results.pt", {"curve": [0.1, 0.2], "acc": 0.3}, 46)
    put(folder / "data.json", b'{"a": 1}', 47)
    put(folder / ".hidden.pth", weights(50), 48)
    (folder / "latest.pth").symlink_to(pointnet / "ckpt_10.pth")
    return folder


if __name__ == "__main__":
    import sys

    mixed(Path(sys.argv[1]))
