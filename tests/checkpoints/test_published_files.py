"""Checkpoints as the world has them, and made ones with known answers; the large ones are not in the repository."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file
from written import SAMPLES, needs, same

from registry.checkpoints.opening import open_checkpoint
from registry.errors import PickledModule, RegistryError, TorchScriptArchive
from registry.inspection import Question, examine

ZOO = SAMPLES / "zoo" / "cases"

PUBLISHED = {
    "wrapped.th": ("state_dict", 18, 11, "torch-legacy"),
    "training.pth.tar": ("model/state_dict", 7, 7, "torch-zip"),
    "minifasnet_v1se.pth": ("", 370, 370, "torch-legacy"),
    "dgcnn_s3dis.t7": ("", 89, 49, "torch-legacy"),
    "resnet20_cifar10.th": ("state_dict", 97, 97, "torch-legacy"),
    "3ddfa_mb05.pth": ("state_dict", 166, 166, "torch-legacy"),
    "pointnet_features.t7": ("", 35, 35, "torch-legacy"),
    "pointnetlk_snapshot.t7": ("model", 36, 36, "torch-legacy"),
    "facenet_pnet.pt": ("", 13, 13, "torch-legacy"),
    "chgnet_0.3.0.pth.tar": ("model/state_dict", 136, 136, "torch-zip"),
}
"""File to the key, names, distinct tensors and format of its weights."""


@pytest.mark.parametrize("file", sorted(PUBLISHED))
def test_a_published_file_is_read_as_torch_reads_it(published, file):
    key, names, distinct, form = PUBLISHED[file]
    checkpoint = open_checkpoint(published(file))
    weights = checkpoint.weight_sets[0]
    truth = torch.load(published(file), map_location="cpu", weights_only=True)
    for part in key.split("/") if key else ():
        truth = truth[part]
    assert (weights.key, len(weights.tensors), checkpoint.format) == (key, names, form)
    assert list(weights.tensors) == list(truth) and all(same(weights.tensors[name], truth[name]) for name in truth)
    assert len({tensor.identity for tensor in weights.tensors.values()}) == distinct


@pytest.mark.parametrize(
    ("file", "arguments", "states"), [("training.pth.tar", 3, 7), ("chgnet_0.3.0.pth.tar", 26, 127)]
)
def test_a_training_file_gives_its_init_arguments_and_optimizer(published, file, arguments, states):
    checkpoint = open_checkpoint(published(file))
    assert len(checkpoint.init) == arguments
    assert len(checkpoint.training["optimizer"]["state"]) == states


@pytest.mark.parametrize(
    ("module", "named", "program"),
    [
        ("module_epoch50.pth", "vanished", "program.jit"),
        ("vdsr_epoch50.pth", "vdsr", "silero_vad.jit"),
    ],
)
def test_a_published_module_and_program_are_refused(published, module, named, program):
    with pytest.raises(PickledModule, match=rf"{named}\.Net.* under 'model'.*--weights model"):
        examine(published(module), Question())
    with pytest.raises(TorchScriptArchive):
        open_checkpoint(published(program))


@needs("zoo")
def test_every_made_file_is_read_or_refused_as_its_case_says():
    cases = [(path.parent, json.loads(path.read_text())) for path in sorted(ZOO.glob("*/case.json"))]
    wrong = [f"{case['id']}: {why}" for folder, case in cases if (why := fault(folder, case))]
    assert cases and not wrong


def fault(folder, case) -> str:
    """What reading does otherwise than the case wants, where reading alone decides: the bytes, whatever their names."""
    try:
        checkpoint = open_checkpoint(folder / case["file"])
    except RegistryError as refusal:
        return "refused" if case["expect"] == "exact" else "" if str(refusal).strip() else "no message"
    if not case["accept"]:
        return ""
    held = contents(checkpoint.weight_sets[0])
    answers = [load_file(folder / file) for file in case["accept"]]
    wanted = [Counter(map(plain, answer.values())) for answer in answers]
    return "" if any(not want - held for want in wanted) else "other tensors"


def contents(weights) -> Counter:
    aliased = [weights.tensors[kept] for kept in weights.aliases.values()]
    return Counter(bytes(tensor.buffer()) for tensor in (*weights.tensors.values(), *aliased))


def plain(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().flatten().view(torch.uint8).tolist()) if tensor.numel() else b""
