"""An average that stands in one state dict with its model is offered, and neither is taken for the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from nets import PointNet
from torch import nn

import registry
from registry import errors
from registry.checkpoints.averages import averaged
from registry.modules.live import open_live

State = dict[str, torch.Tensor]


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return PointNet()


def states() -> tuple[State, State]:
    return model(0).state_dict(), model(1).state_dict()


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def trained(state: State) -> State:
    """Return what training changes, which is what the callbacks average."""
    names = {name for name, _ in model(0).named_parameters()}
    return {name: tensor for name, tensor in state.items() if name in names}


def two_trees(own: State, average: State) -> State:
    counters = {"initted": torch.tensor(True), "step": torch.tensor(10)}
    return {**counters, **under("online_model.", own), **under("ema_model.", average)}


def without_dots(own: State, average: State) -> State:
    copies = {f"net_ema.{name.replace('.', '')}": tensor for name, tensor in trained(average).items()}
    return {**under("net.", own), **copies, "net_ema.decay": torch.tensor(0.9), "betas": torch.ones(4)}


def in_a_wrapper(own: State, average: State) -> State:
    return {**under("net.", own), "net_ema.n_averaged": torch.tensor(4), **under("net_ema.module.", average)}


def among_its_names(own: State, average: State) -> State:
    return {**own, **{f"swa_{name.replace('.', '_')}": tensor for name, tensor in trained(average).items()}}


def equal(held: Any, state: State) -> bool:
    return list(held) == list(state) and all(torch.equal(held[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("spelled", "own_key", "key"),
    [(two_trees, "online_model", "ema_model"), (without_dots, "net", "net_ema"), (in_a_wrapper, "net", "net_ema")],
)
@pytest.mark.parametrize("place", ["", "state_dict"])
def test_a_model_and_its_average_in_one_state_dict_are_the_users_to_choose(
    spelled: Any, own_key: str, key: str, place: str, hub: registry.Registry, tmp_path: Path
) -> None:
    own, average = states()
    torch.save({place: spelled(own, average)} if place else spelled(own, average), tmp_path / "a.pth")
    with pytest.raises(errors.SeveralWeightSets) as refusal:
        hub.push(tmp_path / "a.pth", "net")
    whole = f"{place}/" if place else ""
    assert list(refusal.value.counts) == [f"{whole}{own_key}", f"{whole}{key}", place or "."]
    dotted = f"{place}." if place else ""
    with pytest.raises(errors.ClassMismatch, match=f"a part of it fits: '{dotted}{own_key}', '{dotted}{key}"):
        hub.push(tmp_path / "a.pth", "net", model="nets:PointNet")
    for chosen, state in ((own_key, own), (key, {**own, **trained(average)} if spelled is without_dots else average)):
        for way in {chosen, f"{dotted}{chosen}", f"{whole}{chosen}"}:
            entry = hub.push(tmp_path / "a.pth", "net", weights=way, model="nets:PointNet")
            assert equal(hub.state_dict(entry.ref), state), way


def test_what_was_not_averaged_is_the_models_own_and_named(hub: registry.Registry) -> None:
    own, average = states()
    entry = hub.push(without_dots(own, average), "net", weights="net_ema")
    buffers = [name for name in own if name not in trained(own)]
    held = hub.state_dict("net")
    assert buffers and all(torch.equal(held[name], own[name]) for name in buffers)
    assert any(f"'net_ema' has no average of '{buffers[0]}'" in notice for notice in entry.notices)


def test_a_class_has_its_own_names_and_not_the_average_among_them(hub: registry.Registry, tmp_path: Path) -> None:
    own, average = states()
    torch.save(among_its_names(own, average), tmp_path / "a.pth")
    entry = hub.push(tmp_path / "a.pth", "net", model="nets:PointNet")
    assert equal(hub.state_dict("net"), own)
    assert any(notice.startswith("not stored: 'swa_") for notice in entry.notices)
    bare = hub.push(tmp_path / "a.pth", "bare")
    assert bare.tensor_count == len(among_its_names(own, average))
    assert any("--weights swa stores that alone" in notice for notice in bare.notices)
    hub.push(tmp_path / "a.pth", "average", weights="swa", model="nets:PointNet")
    assert equal(hub.state_dict("average"), {**own, **trained(average)})


class Teaching(nn.Module):
    """A model that has its average as a part."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = PointNet(), PointNet()


def test_a_model_that_has_its_average_as_a_part_is_pushed_as_it_is(hub: registry.Registry) -> None:
    whole = Teaching()
    live = hub.push(whole, "live")
    assert hub.push(whole.state_dict(), "file", model=f"{__name__}:Teaching").digest == live.digest
    assert hub.push(whole.state_dict(), "file", weights=".").digest == live.digest
    with pytest.raises(errors.SeveralWeightSets):
        hub.push(nn.DataParallel(whole).state_dict(), "other")


def test_a_file_of_both_is_compared_with_the_model_that_it_fits(hub: registry.Registry, tmp_path: Path) -> None:
    own, average = states()
    torch.save(among_its_names(own, average), tmp_path / "a.pth")
    report = hub.check(model(0), tmp_path / "a.pth")
    assert set(report.equal) == set(own) and not report.differs
    torch.save(two_trees(own, average), tmp_path / "b.pth")
    with pytest.raises(errors.SeveralWeightSets):
        hub.check(model(0), tmp_path / "b.pth")
    assert not hub.check(model(1), tmp_path / "b.pth", weights="ema_model").differs


def test_twins_without_a_word_for_an_average_are_one_model(hub: registry.Registry) -> None:
    own, other = states()
    assert hub.push({**under("query.", own), **under("key.", other)}, "net").tensor_count == 2 * len(own)


def test_a_part_that_is_called_ema_and_copies_nothing_is_one_of_the_model(hub: registry.Registry) -> None:
    state = {"ema.weight": torch.ones(3), "norm.weight": torch.ones(3), "norm.bias": torch.ones(3)}
    assert hub.push(state, "net").tensor_count == 3


WORDS = st.sampled_from(["ema", "model_ema", "teacher", "model", "net", "a", "b"])


@given(st.lists(st.tuples(WORDS, st.lists(st.sampled_from("abc"), min_size=1, max_size=3)), min_size=1, max_size=12))
def test_every_set_is_made_of_tensors_of_its_state_dict(paths: list[tuple[str, list[str]]]) -> None:
    state = {".".join((first, *rest)): torch.ones(2, 2) for first, rest in paths}
    whole = open_live(state).weight_sets
    parts = averaged(next(found for found in whole if found.inside is None))
    held = {id(source) for found in whole if found.inside is None for source in found.tensors.values()}
    for found in parts.sets if parts else ():
        assert found.tensors and {id(source) for source in found.tensors.values()} <= held
