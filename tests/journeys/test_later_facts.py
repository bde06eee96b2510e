"""What is said of a version after it was pushed, and taken back: each an event in the trail."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import torch
from invocation import run
from torch import nn
from torch.optim import SGD

import registry
from registry import Registry, errors
from registry.catalog.facts import Facts
from registry.catalog.version import NewVersion
from registry.home.home import Home

AT_ONCE = timedelta(0)


def weights(seed: int) -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.full((64, 64), float(seed)), "layer.bias": torch.arange(3.0)}


@pytest.fixture
def three(hub: Registry) -> Registry:
    for seed in (1, 2, 3):
        hub.push(weights(seed), "net", aliases=["best"], metrics={"acc": seed / 10}, tags={"task": "seg"})
    return hub


def days(home: Path, *moments: str) -> None:
    """Let the events have happened then, the first first."""
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        connection.execute("DROP TRIGGER events_no_update")
        for number, at in enumerate(moments, 1):
            connection.execute("UPDATE events SET at = ? WHERE id = ?", (f"{at}T12:00:00.000000+00:00", number))


# Tags and metrics


def test_a_tag_that_is_changed_says_what_it_was(three: Registry) -> None:
    entry = three.tag("net:v1", {"task": "cls", "split": "a"})
    assert entry.tags == {"task": "cls", "split": "a"}
    assert entry.notices == ("the tag task of net:v1 was seg, and is now cls",)
    event = three.log("net", limit=1)[0]
    assert (event.verb, event.reference) == ("tag", "net:v1")
    assert event.details == {"tags": {"task": "cls", "split": "a"}, "tags_were": {"task": "seg"}}
    assert three.audit().is_clean


def test_what_a_push_again_says_of_its_origin_and_is_not_noted_is_named(three: Registry) -> None:
    again = three.push(weights(1), "net", parent="net:v2", run="job-7")
    assert again.reused and (again.parent, again.run) == (None, None)
    assert again.notices == (
        "net:v1 was there, and keeps its parent (none): net:v2 is not noted",
        "net:v1 was there, and keeps its run (none): 'job-7' is in its log",
    )
    made = three.push(weights(4), "net", parent="net:v2", run="job-7")
    assert three.push(weights(4), "net", parent="net:v2", run="job-7").notices == made.notices == ()


def test_another_version_of_the_same_weights_says_so(three: Registry) -> None:
    model = nn.Linear(2, 2)
    three.push(dict(model.state_dict()), "linear", from_="single")
    optimizer = SGD(model.parameters())
    entry = three.push(model, "linear", init={"in_features": 2, "out_features": 2}, optimizer=optimizer)
    assert entry.ref == "linear:v2" and not entry.reused
    said = "linear:v1 has the same weights, and another class, training state or files"
    assert entry.notices == (said,)
    assert said not in three.push(model, "linear", force_new=True).notices


def test_a_tag_that_is_removed_is_gone_and_stays_in_the_trail(three: Registry) -> None:
    assert three.tag("net", remove=["task"]).tags == {}
    assert three.log("net", limit=1)[0].details == {"tags": {"task": None}, "tags_were": {"task": "seg"}}
    assert three.audit().is_clean and three.get("net:v2").tags == {"task": "seg"}


def test_a_metric_that_is_changed_or_removed_says_what_it_was(three: Registry) -> None:
    entry = three.annotate("net:v1", metrics={"acc": 0.93, "f1": 0.5}, note="measured again")
    assert entry.metrics == {"acc": 0.93, "f1": 0.5} and entry.note == "measured again"
    assert entry.notices == ("acc of net:v1 was 0.1, and is now 0.93",)
    assert three.annotate("net:v1", remove=["acc"]).notices == ("acc of net:v1 was 0.93, and is now removed",)
    assert three.get("net:v1").metrics == {"f1": 0.5}
    assert [event.verb for event in three.log("net", limit=2)] == ["annotate", "annotate"]
    assert three.log("net", limit=1)[0].details == {"metrics": {"acc": None}, "were": {"acc": 0.93}}
    assert three.annotate("net:v1", metrics={"acc": 0.4}).notices == ()
    assert three.audit().is_clean and three.audit("net").is_clean


def test_what_says_nothing_new_is_no_event(three: Registry) -> None:
    events = len(three.log())
    three.annotate("net:v1", metrics={"acc": 0.1})
    three.tag("net:v1", {"task": "seg"})
    assert len(three.log()) == events


def test_a_sentence_does_not_list_all_of_many_metrics(three: Registry) -> None:
    three.annotate("net:v2", metrics={f"m{number}": 1.0 for number in range(30)})
    with pytest.raises(errors.AbsentFact, match=r"no metric 'f1' to remove; it has acc, .* and 23 more$"):
        three.annotate("net:v2", remove=["f1"])


def test_what_cannot_be_said_changes_nothing(three: Registry) -> None:
    before = three.get("net:v1"), len(three.log())
    with pytest.raises(errors.AbsentFact, match="net:v1 has no tag 'tsk' to remove; it has task"):
        three.tag("net:v1", {"a": "b"}, remove=["task", "tsk"])
    with pytest.raises(errors.AbsentFact, match="no metric 'f1' to remove; it has acc"):
        three.annotate("net:v1", metrics={"acc": 1}, remove=["f1"])
    with pytest.raises(errors.ContradictoryChange):
        three.tag("net:v1", {"task": "a"}, remove=["task"])
    with pytest.raises(errors.InvalidMetric):
        three.annotate("net:v1", metrics={"acc": float("nan")})
    with pytest.raises(errors.InvalidTag):
        three.tag("net:v1", {"a b": "c"})
    assert (three.get("net:v1"), len(three.log())) == before


def test_the_commands_say_what_changed_and_print_one_document(three: Registry) -> None:
    home = three.home
    refused = run("tag", "net:v1", "task=cls", "--remove", "task", home=home, expect=1)
    assert "to be set and to be removed" in refused.stderr
    said = run("tag", "net:v1", "task=cls", "who=me", home=home).stdout
    assert said == "the tag task of net:v1 was seg, and is now cls\nnet:v1 has the tags task=cls who=me\n"
    document = json.loads(run("tag", "net:v1", "--remove", "who", "--json", home=home).stdout)
    assert document["tags"] == {"task": "cls"}
    document = json.loads(run("annotate", "net:v1", "--metric", "acc=0.5", "--json", home=home).stdout)
    assert document["metrics"] == {"acc": 0.5} and document["notices"] == ["acc of net:v1 was 0.1, and is now 0.5"]
    run("annotate", "net:v1", "--remove", "acc", home=home)
    assert "acc=removed were=acc=0.5" in run("log", "-n", "1", home=home).stdout
    for words in (("tag", "net"), ("annotate", "net"), ("tag", "net", "task")):
        assert run(*words, home=home, expect=2).stdout == ""


# Back to where an alias pointed


def test_a_rollback_goes_where_the_alias_pointed_and_again_one_further(three: Registry) -> None:
    assert three.rollback("net:best").ref == "net:v2"
    assert three.log("net", limit=1)[0].details == {"alias": "best", "was": "net:v3", "rollback": True}
    assert three.rollback("net:best").ref == "net:v1" == three.get("net:best").ref
    with pytest.raises(errors.CannotRollBack, match="nowhere else before"):
        three.rollback("net:best")
    assert three.audit().is_clean


def test_a_removed_alias_comes_back(three: Registry) -> None:
    three.unalias("net", "best")
    assert three.rollback("net:best").ref == "net:v3" and three.rollback("net:best").ref == "net:v2"


def test_a_rollback_to_what_is_in_the_trash_or_gone_is_refused_in_one_sentence(three: Registry) -> None:
    three.rm("net:v2")
    with pytest.raises(errors.CannotRollBack, match="`registry restore net:v2` brings that back"):
        three.rollback("net:best")
    three.gc(grace=AT_ONCE)
    with pytest.raises(errors.CannotRollBack, match="net:v2 before, which is gone"):
        three.rollback("net:best")
    assert three.get("net:best").ref == "net:v3"


@pytest.mark.parametrize("ref", ["net", "net:v1", "net@abcd", "net:best@2026-11-01", "net:latest"])
def test_only_an_alias_is_rolled_back(three: Registry, ref: str) -> None:
    with pytest.raises(errors.CannotRollBack, match="write net:ALIAS"):
        three.rollback(ref)


def test_an_alias_is_rolled_back_across_renames(three: Registry) -> None:
    three.rename("net", "team/net")
    three.alias("team/net:v1", "best")
    assert three.rollback("net:best").ref == "team/net:v3" and three.rollback("team/net:best").ref == "team/net:v2"
    assert three.audit().is_clean


def test_the_command_rolls_back(three: Registry) -> None:
    home = three.home
    assert run("alias", "--rollback", "net:best", home=home).stdout == "net:best is net:v2\n"
    assert json.loads(run("alias", "--rollback", "net:best", "--json", home=home).stdout)["ref"] == "net:v1"
    assert run("alias", "--rollback", "net:best", home=home, expect=1).stderr.startswith("registry: 'net:best' cannot")
    for words in (("net:best", "best", "--rollback"), ("net:best",), ("net:best", "--rollback", "--remove")):
        run("alias", *words, home=home, expect=2)


# What an alias was on a day


def test_a_day_of_an_alias_is_where_it_pointed_when_that_day_ended(three: Registry, tmp_path: Path) -> None:
    three.unalias("net", "best")
    days(three.home, *["2026-01-05"] * 2, *["2026-01-07"] * 2, *["2026-01-07"] * 2, "2026-02-01")
    for day, version in (("2026-01-05", 1), ("2026-01-06", 1), ("2026-01-07", 3), ("2026-01-31", 3)):
        ref = f"net:best@{day}"
        assert three.get(ref).version == version
        assert torch.equal(three.state_dict(ref)["layer.weight"], torch.full((64, 64), float(version)))
        assert three.check(ref, f"net:v{version}").is_equal and three.diff(ref, f"net:v{version}").changed == ()
        three.export(ref, tmp_path / f"{day}.safetensors")
        assert json.loads(run("show", ref, "--json", home=three.home).stdout)["version"] == version
    for day, what in (
        ("2026-01-04", "pointed nowhere at the end of 2026-01-04 (UTC); did you mean net:best@2026-01-05?"),
        ("2026-02-01", "pointed nowhere at the end of 2026-02-01 (UTC)"),
        ("9999-12-31", "is in the future; did you mean net:best?"),
    ):
        with pytest.raises(errors.NothingThatDay) as refusal:
            three.get(f"net:best@{day}")
        assert what in str(refusal.value)
    with pytest.raises(errors.UnknownVersion, match="no alias 'bst'; did you mean net:best") as near:
        three.alias("net:v1", "best") and three.get("net:bst@2026-01-05")
    assert "net:bst@2026-01-05" in str(near.value)
    with pytest.raises(errors.UnknownModel):
        three.get("nut:best@2026-01-05")


def test_today_is_what_an_alias_is_now_also_after_a_rename(three: Registry) -> None:
    today = datetime.now(UTC).date()
    assert three.get(f"net:best@{today}").version == 3
    three.rename("net", "team/net")
    three.alias("team/net:v1", "best")
    assert three.get(f"team/net:best@{today}").ref == three.get(f"net:best@{today}").ref == "team/net:v1"
    with pytest.raises(errors.NothingThatDay):
        three.get(f"team/net:best@{today - timedelta(days=1)}")
    three.rm("team/net:v1", force=True)
    three.rename("team/net", "net")
    with pytest.raises(errors.NothingThatDay):
        three.get(f"net:best@{today}")


def test_where_an_alias_pointed_once_may_be_in_the_trash(three: Registry) -> None:
    days(three.home, *["2026-01-05"] * 2)
    three.rm("net:v1")
    with pytest.raises(errors.TrashedVersion):
        three.get("net:best@2026-01-05")


def test_a_dated_reference_loads_resumes_and_replays(hub: Registry) -> None:
    model = nn.Linear(2, 2)
    registry.remember(model, 2, 2)
    hub.push(model, "net", aliases=["best"], optimizer=SGD(model.parameters()), example=torch.ones(1, 2))
    ref = f"net:best@{datetime.now(UTC).date()}"
    assert isinstance(hub.load(ref), nn.Linear)
    assert hub.replay(ref).deviation is None
    hub.resume(ref, model, SGD(model.parameters()))
    assert hub.audit(ref).versions == 1
    assert hub.push(nn.Linear(2, 2), "child", parent=ref).parent == "net:v1"


# The log


def test_the_log_is_searched_by_verb_actor_and_time(three: Registry) -> None:
    three.tag("net:v1", {"a": "b"})
    days(three.home, "2026-01-05", "2026-01-05", "2026-01-06")
    assert [event.reference for event in three.log(verb="push")] == ["net:v3", "net:v2", "net:v1"]
    assert [event.number for event in three.log(before="2026-01-06")] == [2, 1]
    assert [event.number for event in three.log(after="2026-01-06", before=date(2026, 1, 7))] == [3]
    assert [event.number for event in three.log("net", verb="push", after="2026-01-05T13:00:00+01:00", limit=9)] == [
        *(5, 3, 1),
    ]
    assert three.log(after="2026-01-05T12:00:01Z", before="2026-01-06") == ()
    actor = three.log()[0].actor
    user = actor.partition("@")[0]
    assert three.log(by=actor) == three.log(by=user) == three.log()
    assert three.log(by=user[:-1]) == three.log(by=f"{user}@") == three.log(by="%") == ()
    for no_time in ("2026-13-01", "yesterday", "", "20260105", "2026-01-05T25:00"):
        with pytest.raises(errors.InvalidTime):
            three.log(after=no_time)
        with pytest.raises(errors.InvalidTime):
            three.log(before=no_time)
    with pytest.raises(errors.UnknownVerb, match="there are push, tag"):
        three.log(verb="psh")
    with pytest.raises(errors.UnknownModel, match="did you mean net"):
        three.log("ne")
    said = run("log", "net", "--verb", "tag", "--by", user, "--after", "2026-01-07", "--json", home=three.home)
    assert [event["verb"] for event in json.loads(said.stdout)] == ["tag"]


# Into the trash, several at once


def test_several_versions_go_or_none(three: Registry) -> None:
    with pytest.raises(errors.AliasedVersion):
        three.rm(["net:v1", "net:v3"])
    with pytest.raises(errors.UnknownVersion):
        three.rm(["net:v1", "net:v9"])
    assert len(three.list("net")) == 3
    removed = three.rm(["net:v1", "net:v2", "net:v1"])
    assert [entry.ref for entry in removed.versions] == ["net:v1", "net:v2"]
    assert all(entry.trashed_at for entry in removed.versions)
    with pytest.raises(errors.NotInTrash):
        three.restore(["net:v1", "net:v3"])
    assert len(three.list(trashed=True)) == 2
    assert [entry.ref for entry in three.restore(["net:v1", "net:v2"])] == ["net:v1", "net:v2"]
    assert three.audit().is_clean


def blobs(hub: Registry) -> dict[str, int]:
    return {path.stem: path.stat().st_size for path in (hub.cache or hub.home).glob("blobs/*/*.safetensors")}


def test_the_bytes_that_are_told_are_those_of_the_blobs_that_a_collection_deletes(three: Registry) -> None:
    three.push({**weights(3), "head": torch.ones(1000)}, "other")
    for refs in (["net:v3"], ["other:v1", "net:v2"], ["net:v1"]):
        there = blobs(three)
        told = three.rm(refs, force=True).nbytes
        three.gc(grace=AT_ONCE)
        assert told == sum(there.values()) - sum(blobs(three).values())
    assert not blobs(three)


def test_what_a_live_version_needs_is_not_told_as_freed(three: Registry) -> None:
    three.push(weights(3), "net", force_new=True)
    assert three.rm("net:v4").nbytes == 0
    assert three.rm(["net:v1", "net:v2", "net:v3"], force=True).nbytes == sum(blobs(three).values())


def test_the_command_removes_and_restores_several(three: Registry) -> None:
    home = three.home
    said = run("rm", "net:v1", "net:v2", home=home).stdout
    assert "net:v1 is in the trash" in said and "net:v2 is in the trash" in said and "which frees 16.1 KiB" in said
    document = json.loads(run("restore", "net:v1", "net:v2", "--json", home=home).stdout)
    assert [entry["ref"] for entry in document["versions"]] == ["net:v1", "net:v2"]
    document = json.loads(run("rm", "net:v1", "--json", home=home).stdout)
    assert document["ref"] == "net:v1" == document["versions"][0]["ref"]
    assert document["nbytes"] == 0, "its file holds the bias of all three"
    assert run("rm", "net:v2", "net:v3", home=home, expect=1).stderr.startswith("registry: net:v3 is not removed")
    assert len(three.list("net")) == 2


def adapter(hub: Registry, base: str, name: str = "adapter") -> None:
    """Store what a later push of an adapter stores."""
    entry = hub.push({"lora": torch.rand(2, 2)}, "draft")
    manifest = hub.catalog.manifest_and_documents(entry)[0]
    hub.catalog.add_version(NewVersion(name, Facts(base=base, **manifest.counts())), manifest, ())
    Home(hub.home).catalog.resolve(name)


def test_the_base_of_live_adapters_is_not_removed(three: Registry) -> None:
    adapter(three, three.get("net:v1").digest)
    adapter(three, three.get("net:v1").digest)
    with pytest.raises(errors.NeededBase, match="net:v1 is not removed because adapter:v1 and adapter:v2 need"):
        three.rm("net:v1")
    assert three.get("net:v1").trashed_at is None
    three.rm(["net:v1", "adapter:v1", "adapter:v2"])
    three.restore("adapter:v1")
    three.restore("net:v1")
    three.rm("net:v1", force=True)
    three.restore("net:v1")
    copy = three.push(weights(1), "copy")
    three.rm("net:v1")
    with pytest.raises(errors.NeededBase):
        three.rm(copy.ref)
    assert three.audit().is_clean
