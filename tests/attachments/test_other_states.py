"""Whatever has a state goes with the training: ``state={"loader": loader}``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import torch
from contents import is_empty
from deliberate import wrong
from torch import nn

from registry import Registry, errors


class Loader:
    """Batches in a shuffled order, which goes on where it stood."""

    def __init__(self, count: int = 8, seed: int = 0) -> None:
        self.order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        self.place = 0
        self.seen: dict[str, Any] = {"epochs": [1, (2, 3)], "rate": 0.5}

    def take(self) -> int:
        self.place += 1
        return int(self.order[self.place - 1])

    def state_dict(self) -> dict[str, Any]:
        return {"order": self.order, "place": self.place, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order, self.place, self.seen = state["order"], state["place"], state["seen"]


class Curriculum(Loader):
    """Another class of the same shape."""


class Broken(Loader):
    """One whose state is refused half way."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.place = state["place"]
        raise ValueError("no")


def test_a_loader_goes_on_where_it_stood(hub: Registry):
    model, loader, curriculum = nn.Linear(2, 2), Loader(seed=1), Curriculum(seed=2)
    loader.take(), loader.take()
    hub.push(model, "net", state={"loader": loader, "curriculum.1": curriculum})
    fresh, other = Loader(), Curriculum()
    resumed = hub.resume("net", nn.Linear(2, 2), state={"loader": fresh, "curriculum.1": other})
    assert resumed.restored == ("loader", "curriculum.1")
    assert fresh.place == 2 and fresh.seen == loader.seen and torch.equal(other.order, curriculum.order)
    assert [fresh.take() for _ in range(6)] == [loader.take() for _ in range(6)]


def test_a_state_stands_beside_an_optimizer_and_either_can_be_left_out(hub: Registry):
    model, loader = nn.Linear(2, 2), Loader(seed=1)
    hub.push(model, "net", optimizer=torch.optim.SGD(model.parameters()), state={"loader": loader}, step=3)
    again = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(again.parameters())
    assert "loader" not in hub.resume("net", again, optimizer).restored
    assert hub.resume("net", again, state={"loader": Loader()}).step == 3


def test_a_state_belongs_to_what_the_version_is(hub: Registry):
    model, loader = nn.Linear(2, 2), Loader()
    first = hub.push(model, "net", state={"loader": loader})
    loader.take()
    second = hub.push(model, "net", state={"loader": loader})
    assert second.version == 2 and second.record_digest != first.record_digest
    assert hub.push(model, "net", state={"loader": loader}).reused
    assert hub.audit("net").is_clean


def test_a_push_without_one_has_the_record_that_it_always_had(hub: Registry):
    model = nn.Linear(2, 2)
    assert hub.push(model, "a", step=1).record_digest == hub.push(model, "b", step=1, state={}).record_digest


def test_a_name_under_which_nothing_is_kept_is_an_error_that_says_what_is(hub: Registry):
    model, weight = nn.Linear(2, 2), 5.0
    hub.push(model, "net", state={"loader": Loader()})
    again = nn.Linear(2, 2)
    nn.init.constant_(again.weight, weight)
    with pytest.raises(errors.UnknownState, match=r"'loaders'.*it keeps 'loader'"):
        hub.resume("net", again, state={"loaders": Loader()})
    assert (again.weight == weight).all()
    hub.push(model, "bare")
    with pytest.raises(errors.UnknownState, match="state="):
        hub.resume("bare", again, state={"loader": Loader()})


@pytest.mark.parametrize("name", ["optimizer", "step", "", "-x", "a/b", "a b", "x" * 65])
def test_a_name_that_is_ours_or_none_is_refused_before_anything_is_stored(hub: Registry, name: str):
    with pytest.raises(errors.InvalidStateName):
        hub.push(nn.Linear(2, 2), "net", state={name: Loader()})
    assert is_empty(hub)


def test_the_state_of_another_class_is_refused(hub: Registry):
    hub.push(nn.Linear(2, 2), "net", state={"loader": Loader()})
    with pytest.raises(errors.StateRefused, match="loader at hand is a"):
        hub.resume("net", nn.Linear(2, 2), state={"loader": Curriculum()})


def test_one_that_refuses_its_state_half_way_is_what_it_was(hub: Registry):
    model, broken, loader = nn.Linear(2, 2), Broken(), Loader()
    broken.take()
    hub.push(model, "net", state={"loader": loader, "broken": broken})
    other, again = Broken(), Loader(seed=5)
    order = again.order.clone()
    with pytest.raises(errors.StateRefused, match="broken at hand"):
        hub.resume("net", model, state={"loader": again, "broken": other})
    assert other.place == 0 and torch.equal(again.order, order)


def test_what_has_no_state_or_one_that_cannot_be_stored_is_refused(hub: Registry):
    model = nn.Linear(2, 2)
    with pytest.raises(errors.InvalidArgument, match=r"its 'loader' is .*state_dict"):
        hub.push(model, "net", state=wrong({"loader": [1, 2]}))
    with pytest.raises(errors.InvalidArgument, match=r"\{'loader': loader\}"):
        hub.push(model, "net", state=wrong(Loader()))
    loader = Loader()
    loader.seen = {"callback": print}
    with pytest.raises(errors.UnencodableValue, match="loader"):
        hub.push(model, "net", state={"loader": loader})
    assert is_empty(hub)


def test_with_a_file_there_is_no_job(hub: Registry):
    with pytest.raises(errors.JobNeedsModel):
        hub.push({"w": torch.ones(1)}, "net", state={"loader": Loader()})


def test_a_push_in_the_background_keeps_the_state_of_now(hub: Registry):
    model, loader = nn.Linear(2, 2), Loader()
    pending = hub.push(model, "net", state={"loader": loader}, blocking=False, timeout=timedelta(minutes=1))
    loader.order.zero_()
    pending.wait()
    fresh = Loader(seed=9)
    hub.resume("net", model, state={"loader": fresh})
    assert fresh.order.sum() > 0
