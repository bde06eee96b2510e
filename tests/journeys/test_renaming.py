"""A model keeps what it is whatever it is called, and is found by every name that it had."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st
from invocation import run
from torch import nn
from torch.optim import SGD

import registry
from registry import Registry, errors
from registry.catalog.history import History
from registry.catalog.rows import Event


def weights(seed: int) -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.full((2, 2), float(seed)), "layer.bias": torch.arange(3.0)}


@pytest.fixture
def renamed(hub: Registry) -> Registry:
    hub.push(weights(1), "net", aliases=["best"], metrics={"acc": 0.5})
    hub.push(weights(2), "net", parent="net:v1")
    hub.rename("net", "team/net")
    return hub


def test_a_rename_touches_no_seal_and_no_other_event(hub: Registry) -> None:
    before = hub.push(weights(1), "net", aliases=["best"])
    events = hub.log()
    done = hub.rename("net", "team/net")
    after = hub.get("team/net:v1")
    assert (done.name, done.was, done.uid, done.former_names) == ("team/net", "net", before.uid, ("net",))
    assert (after.uid, after.seal, after.sealed_as, after.record_digest) == (
        *(before.uid, before.seal, "net", before.record_digest),
    )
    assert after.former_names == ("net",) and after.aliases == ("best",) and after.identity == before.identity
    event, *rest = hub.log()
    assert tuple(rest) == events and (event.verb, event.name, event.details) == ("rename", "team/net", {"was": "net"})
    assert hub.audit().is_clean and hub.audit("team/net").is_clean and hub.audit("net:v1").is_clean


def test_a_former_name_leads_to_the_model_and_says_what_it_is_called_now(renamed: Registry, tmp_path: Path) -> None:
    notice = "'net' is called 'team/net' now"
    for ref in ("net", "net:v2", f"net@{renamed.get('team/net').digest[:8]}"):
        entry = renamed.get(ref)
        assert entry.ref == "team/net:v2" and entry.notices == (notice,)
    assert renamed.get("net:best").ref == "team/net:v1" and renamed.get("team/net").notices == ()
    assert torch.equal(renamed.state_dict("net:v1")["layer.weight"], torch.ones(2, 2))
    assert renamed.diff("net:v1", "team/net:v2").a == "team/net:v1"
    assert renamed.check("net:v1", "team/net:v1").is_equal
    renamed.export("net:best", tmp_path / "a.safetensors")
    assert [entry.ref for entry in renamed.list("net")] == ["team/net:v2", "team/net:v1"]
    assert len(renamed.log("net")) == len(renamed.log("team/net")) == 4
    said: list[str] = []
    for query in ("net", "net tag:none=here"):
        hub = Registry(renamed.home, notify=said.append)
        hub.list(query)
        assert said == [notice], "also where nothing is found"
        said.clear()
    hub = Registry(renamed.home, notify=said.append)
    hub.get("net:v1"), hub.log("net"), hub.get("net")
    assert said == [notice], "it is said once"


def test_the_report_of_a_load_says_it_too(hub: Registry) -> None:
    model = nn.Linear(2, 2)
    registry.remember(model, 2, 2)
    hub.push(model, "net", optimizer=SGD(model.parameters()))
    hub.rename("net", "team/net")
    _, report = hub.load("net", report=True)
    assert report.ref == "team/net:v1" and report.notices[0] == "'net' is called 'team/net' now"
    hub.resume("net:v1", model, SGD(model.parameters()))


def test_nothing_is_pushed_to_a_former_name(renamed: Registry) -> None:
    files = {path for path in renamed.home.rglob("*") if path.suffix == ".safetensors"}
    with pytest.raises(errors.FormerName, match="'net' is called 'team/net' now") as refusal:
        renamed.push(weights(3), "net")
    assert "use 'team/net'" in str(refusal.value)
    assert {path for path in renamed.home.rglob("*") if path.suffix == ".safetensors"} == files, "nothing was written"
    assert renamed.get("team/net").version == 2
    assert renamed.push(weights(3), "team/net").ref == "team/net:v3"
    with pytest.raises(errors.FormerName):
        renamed.rename("net", "other")


def test_no_other_model_takes_a_name_that_one_has_or_had(renamed: Registry) -> None:
    renamed.push(weights(1), "other")
    for name, why in (("net", "the model 'team/net' was called so"), ("team/net", "there is a model of that name")):
        with pytest.raises(errors.NameTaken, match=why):
            renamed.rename("other", name)
    with pytest.raises(errors.SameName):
        renamed.rename("other", "other")
    with pytest.raises(errors.InvalidModelName):
        renamed.rename("other", "a--b")
    with pytest.raises(errors.NamedLikeAFile):
        renamed.rename("other", "best.pth")
    with pytest.raises(errors.UnknownModel, match="did you mean other"):
        renamed.rename("othr", "more")
    assert renamed.get("other:v1").former_names == ()


def test_a_model_goes_back_to_a_name_of_its_own(renamed: Registry) -> None:
    assert renamed.rename("team/net", "net").former_names == ("team/net",)
    assert renamed.push(weights(3), "net").ref == "net:v3"
    assert renamed.get("team/net:v3").ref == "net:v3"
    assert {entry.version: entry.sealed_as for entry in renamed.list("net")} == {1: "net", 2: "net", 3: "net"}
    assert renamed.audit().is_clean and renamed.audit("net").is_clean


@pytest.mark.in_a_folder
def test_a_model_of_before_the_grammar_goes_back_to_its_name(hub: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.pushing.request.check_new_model_name", lambda name: name)
    hub.push(weights(1), "best--1.pth")
    monkeypatch.undo()
    hub.rename("best--1.pth", "best")
    assert hub.rename("best", "best--1.pth").former_names == ("best",)
    assert hub.push(weights(2), "best--1.pth").version == 2


def test_a_parent_is_shown_by_the_name_of_now(renamed: Registry) -> None:
    child = renamed.push(weights(4), "child", parent="net:best")
    assert child.parent == renamed.get("team/net:v2").parent == "team/net:v1"
    renamed.rename("team/net", "prod/net")
    assert renamed.get("child").parent == "prod/net:v1"
    assert renamed.audit().is_clean


def test_an_entry_of_before_a_rename_is_still_the_version(hub: Registry) -> None:
    entry = hub.push(weights(1), "net")
    hub.rename("net", "team/net")
    assert hub.catalog.manifest_and_documents(entry)[0].weights_digest == entry.digest
    hub.catalog.set_alias(entry, "best")
    assert hub.log()[0].reference == "team/net:v1"
    hub.tag(entry.ref, {"task": "seg"})
    assert hub.get(entry.ref).tags == {"task": "seg"}
    assert hub.catalog.lineage.pushed_by(entry) == {None}
    hub.push(weights(1), "team/net", run="one")
    hub.rename("team/net", "other")
    hub.push(weights(1), "other", run="two")
    assert (
        hub.catalog.lineage.pushed_by(entry) == hub.catalog.lineage.pushed_by(hub.get("other")) == {None, "one", "two"}
    )


NAMES = ("a", "b", "c", "team/a")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["push", "rename", "alias"]), st.sampled_from(NAMES)), max_size=8))
def test_a_trail_of_renames_is_told_as_the_tables_are(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str]]
) -> None:
    hub = Registry(tmp_path_factory.mktemp("renamed"))
    hub.push(weights(0), "first", aliases=["best"])
    hub.push(weights(0), "second", aliases=["best"])
    name = "first"
    for number, (verb, new) in enumerate(changes):
        if verb == "rename" and new != name:
            hub.rename(name, new)
            name = new
        elif verb == "push":
            hub.push(weights(number + 1), name)
        elif verb == "alias":
            hub.alias(name, "best")
    report = hub.audit()
    assert report.is_clean, report.faults
    assert hub.audit(name).is_clean
    assert {event.verb for event in hub.log(name)} == {event.verb for event in hub.log("first")}
    hub.close()


def test_a_history_that_was_edited_into_nonsense_is_still_told() -> None:
    event = Event(1, "2026", "me", "rename", "net", None, None, '{"was": 7}', "", "", None)
    history = History()
    history.tell(event)
    assert history.former_names == {"net": {"7"}}


def test_the_command_says_on_standard_error_what_a_model_is_called_now(renamed: Registry) -> None:
    home = renamed.home
    said = run("show", "net:v1", "--json", home=home)
    assert json.loads(said.stdout)["ref"] == "team/net:v1"
    assert said.stderr == "registry: 'net' is called 'team/net' now\n"
    said = run("log", "net", "--verb", "rename", "--json", home=home)
    assert [event["details"] for event in json.loads(said.stdout)] == [{"was": "net"}] and "team/net" in said.stderr
    assert run("push", "x.pth", "net", home=home, expect=1).stdout == ""
    said = run("rename", "team/net", "prod/net", home=home)
    assert said.stdout == "team/net is called prod/net now; references to team/net find it still\n"
    document = json.loads(run("rename", "prod/net", "net", "--json", home=home).stdout)
    assert document["name"] == "net" and document["was"] == "prod/net"
    assert document["former_names"] == ["prod/net", "team/net"] and document["uid"] == renamed.get("net").uid
    assert "former names" in run("show", "net", home=home).stdout


def test_a_slash_is_a_namespace_and_dot_slash_a_path(
    hub: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hub.push(weights(1), "team/net")
    (tmp_path / "team").mkdir()
    torch.save(weights(2), tmp_path / "team/net")
    assert not registry.Registry(hub.address).check("team/net", "./team/net").is_equal
    assert hub.check("team/net", "team/net:v1").is_equal
    assert run("check", "team/net", "./team/net", home=hub.address, expect=1).stdout


def test_the_events_of_every_name_come_by_the_index(renamed: Registry) -> None:
    with closing(sqlite3.connect(renamed.home / "registry.db")) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM events WHERE name IN ('a', 'b') ORDER BY id DESC LIMIT 5"
        )
        assert "ix_events_name" in str(plan.fetchall())


@pytest.mark.parametrize("query", ["net", "net sort:-acc", "net sort:created"])
def test_pages_go_on_while_the_model_is_renamed(hub: Registry, query: str) -> None:
    for seed in range(5):
        hub.push(weights(seed), "net", metrics={"acc": seed / 10} if seed else {})
    whole = [entry.version for entry in hub.list(query)]
    first = hub.list(query, limit=2)
    hub.rename("net", "team/net")
    second = hub.list(query, limit=2, after=first.next)
    hub.rename("team/net", "net")
    third = hub.list(query, limit=2, after=second.next)
    assert [entry.version for entry in (*first, *second, *third)] == whole and third.next is None
