"""What names alone do not decide is said, kept as it is, and never decided later against what was declared."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from nets import OnlyChild, PointNet
from safetensors.torch import save_file, save_model
from torch import nn

import registry
from registry import errors


def wrapped(state: dict[str, Any], prefix: str = "module.") -> dict[str, Any]:
    return OrderedDict((f"{prefix}{name}", value) for name, value in state.items())


def test_names_of_which_some_are_wrapped_are_in_doubt_and_the_command_says_so(
    hub: registry.Registry, tmp_path: Path
) -> None:
    state = PointNet().state_dict()
    mixed = {(f"module.{name}" if name.startswith("head") else name): value for name, value in state.items()}
    torch.save(mixed, tmp_path / "half.pth")
    entry = hub.push(tmp_path / "half.pth", "net", from_="ddp")
    assert (entry.saved_as, entry.unwrapping.doubts) == ("bare", ("module",))
    assert set(hub.state_dict("net")) == set(mixed)
    command = [sys.executable, "-m", "registry", "push", str(tmp_path / "half.pth"), "other", "--from-ddp"]
    said = subprocess.run([*command, "--home", str(tmp_path / "home")], capture_output=True, text=True, check=True)
    assert "in doubt, kept: `module`" in said.stdout and "may still hold a wrapper" in said.stderr


def test_a_version_that_was_declared_single_is_never_cut(hub: registry.Registry) -> None:
    linear = nn.Linear(3, 2)
    entry = hub.push(wrapped(linear.state_dict()), "net", from_="single")
    assert entry.unwrapping.single and hub.get("net").unwrapping.single
    assert entry.notices == (
        "`module` stays in 2 names, since it was said that nothing had wrapped the model; if it was under ddp or dp, "
        "push it without --from-single",
    )
    assert hub.push(linear.state_dict(), "bare", from_="single").notices == ()
    before = nn.Linear(3, 2)
    kept = before.weight.clone()
    with pytest.raises(errors.DeclaredSingle, match=r"net:v1 was pushed as not wrapped.*Linear.*without --from-single"):
        hub.load("net", model=before)
    assert torch.equal(before.weight, kept)
    assert torch.equal(hub.load("net", model=OnlyChild()).state_dict()["module.weight"], linear.weight)
    assert not hub.check(OnlyChild(), "net").missing and hub.check(before, "net").missing


def test_a_declaration_of_single_makes_a_version_of_its_own(hub: registry.Registry) -> None:
    state = wrapped(wrapped(nn.Linear(3, 2).state_dict()), "a.")
    first = hub.push({**state, "b": torch.ones(2)}, "net")
    again = hub.push({**state, "b": torch.ones(2)}, "net", from_="single")
    assert first.unwrapping.doubts and again.version == 2 and again.digest == first.digest
    assert hub.push({**state, "b": torch.ones(2)}, "net").reused
    assert hub.audit().is_clean


def test_what_is_not_a_tensor_is_named_and_left_to_the_class(hub: registry.Registry) -> None:
    state = {**PointNet().state_dict(), "step": 1, "rates": [0.1, 0.2]}
    entry = hub.push(state, "known", model="nets:PointNet")
    assert any("plain values 'step', 'rates', which nets:PointNet does not have" in n for n in entry.notices)
    assert set(hub.state_dict("known")) == set(PointNet().state_dict())
    assert entry.digest == hub.push(PointNet().state_dict(), "other").digest or entry.tensor_count == len(state) - 2
    entry = hub.push(state, "unknown")
    assert any("kept as plain values beside the tensors" in n and "'step'" in n for n in entry.notices)
    assert hub.state_dict("unknown")["step"] == 1


def test_facts_in_the_metadata_are_no_ties(hub: registry.Registry, tmp_path: Path) -> None:
    save_file({"scale": torch.ones(2), "body.weight": torch.ones(3)}, tmp_path / "a.safetensors",
              metadata={"format": "pt", "kind": "scale", "best.epoch": "scale"})  # fmt: skip
    entry = hub.push(tmp_path / "a.safetensors", "net")
    assert set(hub.state_dict("net")) == {"scale", "body.weight"}
    assert any("'kind': 'scale'" in notice for notice in entry.notices)


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.tail = nn.Linear(2, 2), nn.Linear(2, 2)
        self.tail.weight = self.stem.weight


def test_a_tie_that_the_writer_tells_of_is_one(hub: registry.Registry, tmp_path: Path) -> None:
    model = Heads()
    save_model(model, str(tmp_path / "a.safetensors"))
    entry = hub.push(tmp_path / "a.safetensors", "net")
    assert entry.digest == hub.push(model, "live").digest and not entry.notices
    assert not hub.check(model, "net").missing and not hub.check(model, tmp_path / "a.safetensors").missing


def test_only_names_show_no_one_wrapper_and_a_search_finds_it_by_each(hub: registry.Registry, tmp_path: Path) -> None:
    state = PointNet().state_dict()
    hub.push(wrapped(state), "names")
    hub.push(wrapped(state), "class", model="nets:PointNet")
    hub.push(wrapped(wrapped(state), "_orig_mod."), "compiled")
    hub.push(wrapped(state), "declared", from_="dp")
    hub.push(nn.DataParallel(PointNet()), "live")
    assert {e.name: e.wrapper for e in hub.list()} == {
        "names": "ddp or dp",
        "class": "ddp or dp",
        "compiled": "compile(ddp or dp)",
        "declared": "dp",
        "live": "dp",
    }
    assert {e.name for e in hub.list("wrapper:ddp")} == {"names", "class", "compiled"}
    assert {e.name for e in hub.list("wrapper:dp")} == {"names", "class", "compiled", "declared", "live"}
    assert {e.name for e in hub.list("wrapper:compile(dp)")} == {"compiled"}
    with pytest.raises(errors.WrongDeclaration, match=r"ddp or dp writes; say --from 'ddp\(compile\)'"):
        hub.push(wrapped(state), "wrong", from_="compile")
    with pytest.raises(errors.WrongDeclaration, match="--from ddp if"):
        hub.push(wrapped(state), "wrong", from_="single", model="nets:PointNet")


def test_a_small_model_with_an_empty_tensor_is_no_shard(hub: registry.Registry) -> None:
    hub.push({"gain": torch.ones(4), "unused": torch.zeros(0)}, "net")
    assert hub.state_dict("net")["unused"].shape == (0,)


def test_an_average_of_mmengine_is_the_model_and_its_counter_a_wrapper_value(hub: registry.Registry) -> None:
    state = PointNet().state_dict()
    entry = hub.push({"steps": torch.tensor(7), **wrapped(state)}, "net", model="nets:PointNet")
    assert (entry.wrapper, entry.unwrapping.set_aside) == ("ema", ("steps",))
    assert entry.digest == hub.push({"steps": torch.tensor(9), **wrapped(state)}, "other").digest


class Shared(nn.Module):
    """One part at two places, perhaps wrapped."""

    def __init__(self, wrap: Any = lambda part: part) -> None:
        super().__init__()
        self.first = wrap(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
        self.rest = nn.ModuleList([nn.Linear(2, 2), self.first])


def bare() -> nn.Module:
    torch.manual_seed(3)
    return Shared()


@pytest.mark.parametrize("outer", [lambda model: model, nn.DataParallel], ids=["bare", "dp"])
def test_a_wrapped_part_at_two_places_has_one_digest_and_one_training_state(
    outer: Any, hub: registry.Registry, tmp_path: Path
) -> None:
    hub.push(bare(), "net")
    model = hub.load("net", model=outer(Shared(nn.DataParallel)))
    optimizer = torch.optim.Adam(model.parameters())
    torch.stack([parameter.sum() for parameter in model.parameters()]).sum().backward()
    optimizer.step()
    entry = hub.push(model, "net", optimizer=optimizer)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    assert hub.push(tmp_path / "a.pth", "file", model=f"{__name__}:Shared").digest == entry.digest
    again = Shared()
    other = torch.optim.Adam(again.parameters())
    hub.resume("net", again, other)
    assert hub.push(again, "again").digest == entry.digest
    assert len(other.state_dict()["state"]) == len(optimizer.state_dict()["state"])
