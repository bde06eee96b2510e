"""A run is known by what the catalog says of it: another process that resumes it keeps by the same rules."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from registry import Registry, errors
from registry.integrations.retention import Keeper


def weights(number: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2,), float(number))}


def versions(hub: Registry) -> list[int]:
    return sorted(entry.version for entry in hub.list("net"))


def train(model: Any, hub: Registry, epochs: range, **settings: Any) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    keeper = Keeper("net", hub=hub, keep_last=2, **settings)
    for epoch in epochs:
        with torch.no_grad():
            model.weight.fill_(float(epoch))
        keeper.push(model, {"acc": epoch / 10}, optimizer=optimizer, epoch=epoch)


RESUMED = """
import torch, registry
from registry.integrations.retention import Keeper
model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
registry.resume("net:last", model, optimizer)
keeper = Keeper("net", keep_last=2)
torch.nn.init.constant_(model.weight, 9.0)
keeper.push(model, {"acc": 0.9}, optimizer=optimizer, epoch=9)
"""


def test_another_process_that_resumes_a_run_keeps_by_its_versions(hub: Registry):
    train(nn.Linear(2, 2), hub, range(3))
    assert versions(hub) == [2, 3]
    subprocess.run([sys.executable, "-c", RESUMED], check=True)
    assert versions(hub) == [3, 4] and hub.get("net:v3").run == hub.get("net:v4").run is not None


def test_a_model_that_was_only_loaded_begins_a_run_of_its_own(hub: Registry):
    train(nn.Linear(2, 2), hub, range(3))
    train(hub.load("net:last", model=nn.Linear(2, 2)), hub, range(5, 8))
    assert versions(hub) == [2, 3, 5, 6] and hub.get("net:v3").run != hub.get("net:v6").run


def test_a_run_may_have_an_id_of_ones_own(hub: Registry):
    train(nn.Linear(2, 2), hub, range(2), run="job-17")
    train(nn.Linear(2, 2), hub, range(5, 7), run="job-17")
    assert versions(hub) == [3, 4] and hub.get("net:v4").run == "job-17"
    with pytest.raises(errors.InvalidFact, match="run"):
        Keeper("net", hub=hub, run="a job").push(weights(0), {})


def test_a_version_that_another_run_pushed_too_is_not_removed(hub: Registry):
    Keeper("net", hub=hub, run="one").push(weights(0), {})
    other = Keeper("net", hub=hub, keep_last=1, run="two")
    for number in (0, 1, 2):
        other.push(weights(number), {})
    first = Keeper("net", hub=hub, keep_last=1, run="one")
    for number in (3, 4):
        first.push(weights(number), {})
    assert versions(hub) == [1, 3, 5]


def test_the_words_of_lightning_are_understood(hub: Registry):
    keeper = Keeper("net", hub=hub, monitor="val_loss", mode="min", save_top_k=2)
    for number, loss in enumerate([0.5, 0.1, 0.3, 0.9, 0.8]):
        keeper.push(weights(number), {"val_loss": loss})
    assert versions(hub) == [2, 3, 5] and hub.get("net:best").version == 2


def test_the_rules_of_prune_hold_within_a_run(hub: Registry):
    keeper = Keeper("net", hub=hub, keep_last=1, keep_best=["acc:1", "loss:1:min"], keep_tags=["release"])
    for number, (acc, loss) in enumerate([(0.9, 3), (0.1, 1), (0.5, 2), (0.2, 5), (0.3, 4)]):
        keeper.push(weights(number), {"acc": acc, "loss": loss}, tags={"release": "1"} if number == 2 else {})
    assert versions(hub) == [1, 2, 3, 5]


def test_save_top_k_of_minus_one_keeps_all(hub: Registry):
    keeper = Keeper("net", hub=hub, monitor="acc", mode="max", save_top_k=-1)
    for number in range(5):
        keeper.push(weights(number), {"acc": 0.1})
    assert versions(hub) == [1, 2, 3, 4, 5]


def test_nothing_is_removed_by_a_metric_that_does_not_come(hub: Registry):
    keeper = Keeper("net", hub=hub, monitor="acc", mode="max", save_top_k=1)
    for number in range(4):
        keeper.push(weights(number), {"loss": 0.1})
    assert versions(hub) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"monitor": "val_loss"}, errors.MonitorNeedsMode, "mode='max' or mode='min'"),
        ({"monitor": "a", "mode": "min", "best_by": "b"}, errors.TwoSettings, "monitor='a'"),
        ({"save_top_k": 0, "best_by": "acc"}, errors.NothingKept, "save_top_k=0"),
        ({"save_top_k": 3}, errors.TopNeedsMetric, "monitor='val_acc'"),
        ({"save_top_k": -2}, errors.InvalidArgument, "at least -1"),
        ({"keep_best": ["acc"]}, errors.InvalidRule, "METRIC:NUMBER"),
    ],
)
def test_settings_that_mean_nothing_are_refused_with_a_way_out(hub: Registry, settings: Any, error: Any, words: str):
    with pytest.raises(error, match=words):
        Keeper("net", hub=hub, **settings)


def test_a_line_is_printed_for_each_version(hub: Registry, capsys: pytest.CaptureFixture[str]):
    keeper = Keeper("net", hub=hub, keep_last=1, best_by="acc")
    for number, acc in enumerate([0.5, 0.75, 0.25]):
        keeper.push(weights(number), {"acc": acc})
    keeper.push(weights(2), {"acc": 0.25})
    assert capsys.readouterr().out.splitlines() == [
        "registry: stored net:v1 (last, best)  acc=0.5",
        "registry: stored net:v2 (last, best)  acc=0.75  trashed net:v1",
        "registry: stored net:v3 (last)  acc=0.25",
        "registry: already stored as net:v3 (last)  acc=0.25",
    ]


def test_a_metric_that_never_came_is_warned_of_at_the_end_and_once(hub: Registry):
    keeper = Keeper("net", hub=hub, best_by="val_acc")
    keeper.push(weights(0), {"acc": 0.5, "loss": 1})
    with pytest.warns(UserWarning, match=r"'val_acc'.*they have acc, loss"):
        keeper.finish()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keeper.finish()


def test_a_metric_that_came_once_is_not_warned_of(hub: Registry):
    keeper = Keeper("net", hub=hub, best_by="acc")
    for number, metrics in enumerate([{}, {"acc": 0.5}, {}]):
        keeper.push(weights(number), metrics)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keeper.finish()
        Keeper("net", hub=hub, best_by="acc").finish()  # of a run that stored nothing there is nothing to say
