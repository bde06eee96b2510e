"""Which numbers of a file are metrics, and which are not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import old_checkpoints as making
import pytest
import torch

from registry import Registry


def found(hub: Registry, place: Path, beside: dict[str, Any], key: str = "state_dict") -> dict[str, float]:
    making.put(place / "in" / "net.pth", {key: making.weights(1), **beside}, 1)
    [line] = hub.import_folder(place / "in", dry_run=True).lines
    return dict(line.metrics)


@pytest.mark.parametrize(
    "key",
    [
        *("acc", "best_acc", "best_acc1", "best_prec1", "val_loss", "val/acc", "test.mIoU", "best_top5", "mAP50"),
        *("epoch", "global_step", "iteration", "F1", "best-fitness", "trainLoss", "mean_class_acc", "rmse", "wer"),
    ],
)
def test_a_number_under_a_known_word_is_a_metric(key: str, hub: Registry, tmp_path: Path) -> None:
    assert found(hub, tmp_path, {key: 0.5}) == {key: 0.5}


@pytest.mark.parametrize(
    "key",
    [
        *("lr", "num_classes", "batch_size", "seed", "weight_decay", "epochs", "max_epoch", "num_epochs", "total_step"),
        *("in_channels", "loss_weight", "momentum", "world_size", "best", "val", "temperature", "label_smoothing"),
        *("accuracy_threshold", "top_k", "step_size", "dropout", "version", "iou_threshold", "warmup_epoch", ""),
    ],
)
def test_a_number_under_another_word_is_none(key: str, hub: Registry, tmp_path: Path) -> None:
    assert found(hub, tmp_path, {key: 3}) == {}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (torch.tensor(0.25), 0.25),
        (torch.tensor(3), 3.0),
        (torch.tensor(0.25, dtype=torch.bfloat16), 0.25),
        (torch.tensor(0.25, dtype=torch.float16), 0.25),
        (torch.tensor(0.25, requires_grad=True), 0.25),
        (np.float32(0.25), 0.25),
        (np.int64(7), 7.0),
        (np.array(0.25), 0.25),
    ],
)
def test_a_number_of_torch_or_numpy_counts(value: Any, number: float, hub: Registry, tmp_path: Path) -> None:
    assert found(hub, tmp_path, {"acc": value}) == {"acc": number}


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, True, "0.9", None, [0.9], torch.tensor([0.9]), torch.tensor([0.9, 0.8]), 10**400, 1 + 2j, {}],
)
def test_what_is_no_finite_number_does_not(value: Any, hub: Registry, tmp_path: Path) -> None:
    assert found(hub, tmp_path, {"acc": value}) == {}


def test_tables_of_metrics_are_read_and_others_are_not(hub: Registry, tmp_path: Path) -> None:
    beside = {
        "metrics": {"acc": 0.5, "val": {"loss": 0.25}, "lr": 0.1, "confusion": [[1]]},
        "test_metrics": {"acc": 0.75},
        "args": {"acc": 1, "loss": 2, "epoch": 100},
        "config": {"metrics": {"acc": 3}},
        "hyper_parameters": {"loss": 4.0, "metric": 5.0},
        "optimizer": making.optimizer(1),
    }
    assert found(hub, tmp_path, beside) == {"acc": 0.5, "val_loss": 0.25, "test_acc": 0.75}


def test_a_number_beside_nested_weights_counts_and_one_among_them_does_not(hub: Registry, tmp_path: Path) -> None:
    inner = {"state_dict": {**making.weights(1), "loss.epoch": torch.tensor(9.0)}, "acc": 0.5}
    making.put(tmp_path / "in" / "net.pth", {"checkpoint": inner, "epoch": 3}, 1)
    [line] = hub.import_folder(tmp_path / "in").lines
    assert line.metrics == {"acc": 0.5, "epoch": 3.0}


def test_a_buffer_that_is_called_like_a_metric_is_none(hub: Registry, tmp_path: Path) -> None:
    making.put(
        tmp_path / "in" / "net.pth", {**making.weights(1), "step": torch.tensor(7), "loss": torch.tensor(1.5)}, 1
    )
    [line] = hub.import_folder(tmp_path / "in").lines
    assert (line.verdict, line.metrics) == ("new", {})


def test_the_best_scores_of_several_callbacks_are_told_apart(hub: Registry, tmp_path: Path) -> None:
    states = {
        "ModelCheckpoint{1}": {"monitor": "val_loss", "best_model_score": torch.tensor(0.25)},
        "ModelCheckpoint{2}": {"monitor": "val/acc", "best_model_score": torch.tensor(0.75)},
        "EarlyStopping": {"best_score": torch.tensor(0.1), "patience": 3},
    }
    assert found(hub, tmp_path, {"callbacks": states}) == {
        "best_model_score/val_loss": 0.25,
        "best_model_score/val/acc": 0.75,
    }


@pytest.mark.parametrize("key", ["val acc", "acc (top 5)", "acc|top", "best acc\n", "acc" * 50, "-acc"])
def test_a_number_whose_key_no_metric_may_have_keeps_no_checkpoint_out(key: str, hub: Registry, tmp_path: Path) -> None:
    assert found(hub, tmp_path, {key: 0.5, "acc": 0.25}) == {"acc": 0.25}
    [line] = hub.import_folder(tmp_path / "in").lines
    assert (line.verdict, dict(hub.get("net").metrics)) == ("new", {"acc": 0.25})
