"""Whatever a version may have is there after a copy, through a bundle too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from invocation import run
from samples import account, push, told, weights

from registry import Registry, errors
from registry.catalog import arrivals
from registry.catalog.change import hold
from registry.catalog.facts import Facts
from registry.catalog.version import NewVersion

Copy = Callable[[Registry], Registry]


@pytest.fixture(params=["home", "bundle"])
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> Copy:
    """Copy everything in a home to another one, and return that."""

    def act(hub: Registry) -> Registry:
        there = Registry(tmp_path / "there")
        if request.param == "home":
            hub.copy(None, there.address)
        else:
            hub.copy(None, tmp_path / "all.bundle")
            there.copy(tmp_path / "all.bundle")
        assert there.audit().is_clean
        return there

    return act


def test_large_empty_tied_and_equal_tensors_of_every_dtype(hub: Registry, copied: Copy) -> None:
    large = torch.randn(1_500_000)
    state = {
        "large": large,
        "again": large.clone(),
        "tied": large,
        "empty": torch.empty(0, 4),
        "scalar": torch.tensor(3.5),
        "half": torch.randn(33).to(torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "other empty": torch.empty(0, dtype=torch.int8),
        "more": torch.randn(400_001, dtype=torch.float64),
    }
    hub.push(state, "net")
    there = copied(hub)
    found = there.state_dict("net")
    assert list(found) == list(state)
    assert all(torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in state.items())
    assert found["tied"] is found["large"]
    assert account(there.get("net")) == account(hub.get("net"))


def test_what_a_wrapper_owns(hub: Registry, copied: Copy) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.Linear(2, 2))
    averaged.update_parameters(torch.nn.Linear(2, 2))
    hub.push(averaged, "ema")
    there = copied(hub)
    fresh = torch.optim.swa_utils.AveragedModel(torch.nn.Linear(2, 2))
    there.load("ema", model=fresh)
    assert fresh.n_averaged == 1


def test_the_class_with_its_arguments(hub: Registry, copied: Copy, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "net.pth")
    init = {"in_features": 3, "out_features": 2, "bias": True}
    hub.push(tmp_path / "net.pth", "net", model="torch.nn:Linear", init=init, from_="single")
    there = copied(hub)
    assert dict(there.get("net").init) == init


@pytest.mark.in_a_folder
def test_the_card_of_a_model_that_has_none_there(hub: Registry, copied: Copy) -> None:
    entry = push(hub, 1)
    with hub.catalog._change() as change:
        arrivals._set_card(change, hold(change, entry), "# PointNet")
    there = copied(hub)
    assert there.catalog.copies.parcel(there.get("net"), "there").card == "# PointNet"
    assert there.copy("net", str(hub.address)).versions[0].outcome == "already there"


def _adapter(hub: Registry, base: str) -> None:
    entry = push(hub, 5, "parts")
    manifest = hub.catalog.manifest_and_documents(entry)[0]
    hub.catalog.add_version(NewVersion("adapter", Facts(base=base, **manifest.counts())), manifest, ())
    hub.rm("parts:v1")


def test_the_base_of_an_adapter_travels_with_it_unless_it_is_left_out(hub: Registry, tmp_path: Path) -> None:
    base = push(hub, 1, "base")
    push(hub, 2, "base")
    _adapter(hub, base.digest)
    with_it, without = Registry(tmp_path / "with"), Registry(tmp_path / "without")
    assert [version.ref for version in hub.copy("adapter", with_it.home).versions] == ["base:v1", "adapter:v1"]
    assert [v.ref for v in hub.copy("adapter", without.home, without_base=True).versions] == ["adapter:v1"]
    assert without.get("adapter").base == base.digest
    assert with_it.audit().is_clean
    assert without.audit().is_clean


def test_the_log_shows_what_happened_elsewhere_at_its_time(hub: Registry, copied: Copy) -> None:
    push(hub, 1, aliases=["best"])
    push(hub, 2)
    there = copied(hub)
    times = [event.at for event in there.log()]
    assert times == sorted(times, reverse=True)
    assert told(there, "net", came=True) == told(hub, "net", came=False)
    whole = there.log("net")
    assert [there.log("net", limit=n) for n in (1, 3, 5)] == [whole[:1], whole[:3], whole[:5]]


def test_the_command_says_what_became_of_each_version(hub: Registry, tmp_path: Path) -> None:
    push(hub, 1, tags={"task": "seg"})
    there = Registry(tmp_path / "there")
    push(there, 2)
    said = run("copy", "net", f"{there.home}/", home=hub.address)
    assert said.stdout.splitlines()[0] == "net:v1 → net:v2  copied"
    said = run("copy", "net:v1", f"{there.home}/", home=hub.address)
    assert said.stdout.splitlines()[0] == "net:v1 → net:v2  already there"
    assert run("copy", "--all", str(tmp_path / "x.bundle"), home=hub.address).stdout.splitlines()[0] == "net:v1  copied"
    assert run("copy", str(tmp_path / "x.bundle"), home=tmp_path / "new").stdout.splitlines()[0] == "net:v1  copied"
    log = run("log", "net", home=there.home).stdout
    assert "task=seg" in log
    assert str(hub.address) in log
    assert f"copied from    {hub.address}" in run("show", "net:v2", home=there.home).stdout


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["net"], 2, "where to"),
        (["net", "desk"], 1, "write ./desk for a folder"),
        (["net", "net:v2"], 1, "write ./net:v2 for a folder"),
        (["--all", "net", "./desk"], 2, "or --all"),
        (["net", "http://example.org/x"], 1, "not a valid address"),
        (["nothing.bundle"], 1, "No such file"),
        (["net", "."], 0, ""),
    ],
)
def test_the_command_refuses_in_a_sentence_what_cannot_be_meant(
    hub: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, sentence: str
) -> None:
    push(hub, 1)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    said = run("copy", *words, home=hub.address, expect=code)
    assert sentence in said.stderr
    assert bool(list((tmp_path / "here").iterdir())) == (code == 0)


def test_a_bundle_with_a_flipped_bit_makes_no_home(hub: Registry, tmp_path: Path) -> None:
    push(hub, 1)
    hub.copy("net", tmp_path / "net.bundle")
    content = bytearray((tmp_path / "net.bundle").read_bytes())
    content[content.index(weights(1)["head.weight"].numpy().tobytes())] ^= 1
    (tmp_path / "net.bundle").write_bytes(content)
    with pytest.raises(errors.DamagedBundle, match=r"head\.weight"):
        Registry(tmp_path / "new").copy(tmp_path / "net.bundle")
    assert not (tmp_path / "new").exists()
