"""What a run keeps."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from registry import Registry
from registry.catalog.entry import Entry
from registry.integrations.retention import BEST, Keeper, finite


def weights(number: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2,), float(number))}


def versions(hub: Registry) -> list[int]:
    return sorted(entry.version for entry in hub.list("net"))


def test_the_last_few_versions_stay(hub: Registry) -> None:
    keeper = Keeper("net", hub=hub, keep_last=2)
    for number in range(5):
        keeper.push(weights(number), {})
    assert versions(hub) == [4, 5] and hub.get("net:last").version == 5


def test_the_best_version_stays_however_old(hub: Registry) -> None:
    keeper = Keeper("net", hub=hub, keep_last=1, best_by="loss", mode="min")
    for number, loss in enumerate([0.5, 0.2, 0.9, 0.4]):
        keeper.push(weights(number), {"loss": loss})
    assert hub.get("net:best").version == 2 and versions(hub) == [2, 4]


def test_what_somebody_named_is_never_removed(hub: Registry) -> None:
    keeper = Keeper("net", hub=hub, keep_last=1)
    keeper.push(weights(0), {})
    hub.alias("net:v1", "paper")
    for number in range(1, 4):
        keeper.push(weights(number), {})
    assert versions(hub) == [1, 4]


def test_a_name_taken_away_later_ends_the_stay(hub: Registry) -> None:
    keeper = Keeper("net", hub=hub, keep_last=1)
    keeper.push(weights(0), {})
    hub.alias("net:v1", "paper")
    keeper.push(weights(1), {})
    hub.unalias("net", "paper")
    keeper.push(weights(2), {})
    assert versions(hub) == [3]


def test_versions_of_other_runs_are_left_alone(hub: Registry) -> None:
    hub.push(weights(100), "net")
    keeper = Keeper("net", hub=hub, keep_last=1)
    for number in range(3):
        keeper.push(weights(number), {})
    assert versions(hub) == [1, 4]


def test_a_better_version_of_an_earlier_run_stays_the_best(hub: Registry) -> None:
    hub.push(weights(100), "net", metrics={"acc": 0.9}, aliases=["best"])
    Keeper("net", hub=hub, best_by="acc").push(weights(0), {"acc": 0.8})
    assert hub.get("net:best").version == 1


def test_weights_that_did_not_change_are_one_version_of_the_run(hub: Registry) -> None:
    keeper = Keeper("net", hub=hub, keep_last=1)
    for _ in range(3):
        keeper.push(weights(0), {})
    assert versions(hub) == [1]


def test_a_version_that_somebody_removed_meanwhile_does_not_stop_the_run(hub: Registry) -> None:
    keeper = Keeper("net", hub=hub, keep_last=1)
    keeper.push(weights(0), {})
    hub.alias("net:v1", "paper")
    keeper.push(weights(1), {})
    hub.rm("net:v1", force=True)
    keeper.push(weights(2), {})
    assert versions(hub) == [3]


def test_metrics_that_are_no_finite_numbers_are_left_out() -> None:
    found = finite({"loss": torch.tensor(0.5), "acc": float("nan"), "steps": 3, "name": "7", "matrix": torch.eye(2)})
    assert found == {"loss": 0.5, "steps": 3.0}


@pytest.mark.parametrize("wrong", [{"keep_last": 0}, {"mode": "maximum"}])
def test_settings_that_mean_nothing_are_refused(hub: Registry, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give"):
        Keeper("net", hub=hub, **wrong)


def test_a_version_that_was_there_before_with_the_same_weights_is_left_alone(hub: Registry) -> None:
    hub.push(weights(0), "net", note="a release")
    keeper = Keeper("net", hub=hub, keep_last=1)
    for number in (0, 1, 0, 2, 3):
        keeper.push(weights(number), {})
    assert versions(hub) == [1, 4]


def test_a_version_that_somebody_else_pushed_too_is_left_alone(hub: Registry) -> None:
    keeper = Keeper("net", hub=hub, keep_last=2)
    for number in (0, 1, 0):
        keeper.push(weights(number), {})
    hub.push(weights(0), "net", note="a release")
    for number in (2, 3, 4):
        keeper.push(weights(number), {})
    assert versions(hub) == [1, 4, 5]


class Overtaken(Registry):
    """One whose run is overtaken by a better one at the last moment before it moves an alias."""

    other: threading.Thread | None = None

    def alias(self, ref: str | Entry, alias: str) -> Entry:
        if alias == BEST and self.other is None:
            better = Keeper("net", hub=Registry(self.home), best_by="acc")
            self.other = threading.Thread(target=better.push, args=(weights(2), {"acc": 0.9}))
            self.other.start()
            self.other.join(timeout=1)  # where the decision is one transaction, the other has to wait for its end
        return super().alias(ref, alias)


def test_a_worse_run_never_takes_the_place_of_a_better_one(hub: Registry) -> None:
    hub.push(weights(0), "net", metrics={"acc": 0.1}, aliases=["best"])
    overtaken = Overtaken(hub.home)
    Keeper("net", hub=overtaken, best_by="acc").push(weights(1), {"acc": 0.5})
    assert overtaken.other is not None
    overtaken.other.join()
    assert hub.get("net:best").metrics["acc"] == 0.9
