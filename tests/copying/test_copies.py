"""Versions handed on: to another home, through a bundle, and back."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from contents import is_empty
from forging import Forgery
from invocation import run
from samples import account, files, many, push, told, trained, weights

import registry
from registry import Registry, errors

MODELS, EACH = 20, 10


@pytest.fixture
def there(tmp_path: Path) -> Registry:
    """The registry of a colleague, which is not made yet."""
    return Registry(tmp_path / "there")


@pytest.mark.parametrize("through", ["home", "bundle"])
def test_200_versions_in_20_models_are_the_same_there(hub: Registry, there: Registry, tmp_path: Path, through) -> None:
    many(hub, MODELS, EACH)
    if through == "home":
        hub.copy(None, there.address)
    else:
        hub.copy(None, tmp_path / "all.bundle")
        there.copy(tmp_path / "all.bundle")
    ours, theirs = hub.list(), there.list()
    assert len(theirs) == MODELS * EACH
    by_ref = {entry.ref: account(entry) for entry in theirs}
    assert all(by_ref[entry.ref] == account(entry) for entry in ours)
    for number in range(MODELS):
        assert told(there, f"model-{number}", came=True) == told(hub, f"model-{number}", came=False)
    assert hub.audit().is_clean
    assert there.audit().is_clean
    assert all(torch.equal(tensor, weights(703)[name]) for name, tensor in there.state_dict("model-7:v4").items())


@pytest.mark.parametrize("through", ["home", "bundle"])
def test_a_second_copy_changes_no_byte(hub: Registry, there: Registry, tmp_path: Path, through) -> None:
    push(hub, 1, aliases=["best"], tags={"task": "seg"})
    trained(hub)
    source = hub.address
    if through == "bundle":
        hub.copy(None, source := tmp_path / "all.bundle")
    act = (lambda: hub.copy(None, there.address)) if through == "home" else (lambda: there.copy(source))
    act()
    there.close()
    before = files(there.home)
    report = act()
    there.close()
    assert {version.outcome for version in report.versions} == {"already there"}
    assert report.nbytes == 0
    assert files(there.home) == before


def test_only_the_tensors_that_are_missing_are_moved(hub: Registry, there: Registry) -> None:
    push(there, 1, "mine")
    push(hub, 2)
    blobs = set(there.home.glob("blobs/*/*"))
    report = hub.copy("net", there.address)
    [new] = set(there.home.glob("blobs/*/*")) - blobs
    assert report.nbytes == new.stat().st_size < 64 * 4 + 512
    assert b"backbone" not in new.read_bytes()


def test_a_number_is_kept_where_it_is_free_and_the_largest(hub: Registry, there: Registry) -> None:
    for seed in range(1, 4):
        push(hub, seed)
    [copied] = hub.copy("net:v3", there.address).versions
    assert (copied.source, copied.ref) == ("net:v3", "net:v3")
    assert push(there, 9).ref == "net:v4"


def test_a_number_that_is_taken_becomes_the_next_and_none_is_used_twice(hub: Registry, there: Registry) -> None:
    push(hub, 1)
    hub.copy("net", there.address)
    push(hub, 2)
    push(there, 8)
    push(there, 9)
    there.rm("net:v3")
    [copied] = hub.copy("net:v2", there.address).versions
    assert (copied.source, copied.ref, copied.outcome) == ("net:v2", "net:v4", "copied")
    assert there.get("net:v4").identity == hub.get("net:v2").identity
    assert hub.copy("net:v2", there.address).versions[0].outcome == "already there"
    assert there.audit().is_clean


def test_a_version_that_comes_back_is_met_where_it_was_made(hub: Registry, there: Registry) -> None:
    push(hub, 1)
    hub.copy("net", there.address)
    there.push(weights(1), "net", metrics={"f1": 0.5})
    report = there.copy("net", str(hub.address))
    assert [(v.ref, v.outcome, v.added) for v in report.versions] == [("net:v1", "changed", ("metric f1",))]
    assert hub.get("net:v1").metrics == {"acc": 0.1, "f1": 0.5}
    assert hub.get("net:v1").origin is None
    assert {v.outcome for v in there.copy("net", str(hub.address)).versions} == {"already there"}


def test_the_same_version_is_met_though_both_homes_have_another_number_for_it(
    hub: Registry, there: Registry, tmp_path: Path
) -> None:
    third = Registry(tmp_path / "third")
    push(hub, 1)
    push(there, 5)
    push(third, 6)
    push(third, 7)
    hub.copy("net:v1", there.address)
    hub.copy("net:v1", third.home)
    assert (there.get("net").ref, third.get("net").ref) == ("net:v2", "net:v3")
    assert there.copy("net:v2", third.home).versions[0].outcome == "already there"


def test_two_versions_that_are_in_everything_the_same_stay_two(hub: Registry, there: Registry) -> None:
    push(hub, 1)
    push(hub, 1, force_new=True)
    hub.copy("net", there.address)
    assert [entry.version for entry in there.list()] == [2, 1]


def test_another_model_of_the_same_name_keeps_its_own_numbers_and_says_where_each_came_from(
    hub: Registry, there: Registry
) -> None:
    push(hub, 1)
    push(there, 2)
    [copied] = hub.copy("net", there.address).versions
    assert copied.ref == "net:v2"
    assert "another model" in copied.notices[0]
    assert there.get("net:v2").copied_from == str(hub.address)
    assert there.get("net:v2").identity.uid == hub.get("net").uid != there.get("net").uid
    assert there.get("net:v1").origin is None


def test_another_name_keeps_two_models_apart_and_later_versions_find_it(hub: Registry, there: Registry) -> None:
    push(hub, 1)
    push(there, 2)
    assert hub.copy("net", there.home, name="annas-net").versions[0].ref == "annas-net:v1"
    push(hub, 3)
    assert [version.ref for version in hub.copy("net", there.address).versions] == ["annas-net:v1", "annas-net:v2"]
    assert there.get("annas-net").uid == hub.get("net").uid
    (again,) = hub.copy("net:v1", there.address, name="net").versions
    assert again.notices == ("it was there and keeps its name; `registry rename annas-net net` there changes that",)
    assert there.audit().is_clean


def test_a_bundle_keeps_the_names_of_its_models(hub: Registry, tmp_path: Path) -> None:
    push(hub, 1)
    with pytest.raises(errors.NamesInBundle, match="cannot be called 'other' in it"):
        hub.copy("net", tmp_path / "net.bundle", name="other")
    assert not (tmp_path / "net.bundle").exists()


def test_one_name_is_not_given_to_versions_of_several_models(hub: Registry, there: Registry) -> None:
    push(hub, 1)
    push(hub, 2, "other")
    with pytest.raises(errors.SeveralModels, match="net, other"):
        hub.copy(None, there.home, name="one")
    assert not there.home.exists()


def test_what_is_missing_is_added_and_what_differs_stays_and_is_named(hub: Registry, there: Registry) -> None:
    push(hub, 1, tags={"task": "seg"})
    push(hub, 2)
    hub.copy("net", there.address)
    there.push(weights(1), "net", metrics={"acc": 0.9}, tags={"task": "cls"}, aliases=["best"])
    there.push(weights(1), "net", note="checked here")
    hub.push(weights(1), "net", metrics={"loss": 2.0}, tags={"data": "area 5"})
    hub.alias("net:v2", "best")
    hub.alias("net:v1", "old")
    first, second = hub.copy("net", there.address).versions
    assert set(first.added) == {"metric loss", "tag data", "alias old", "history"}
    assert [notice.split(" stays ")[0] for notice in first.notices] == [
        "its metric acc",
        "its tag task",
        "its note",
    ]
    assert second.notices == ("its alias best stays net:v1; it is net:v2 where it comes from",)
    entry = there.get("net:v1")
    assert entry.metrics == {"acc": 0.9, "loss": 2.0}
    assert entry.tags == {"data": "area 5", "task": "cls"}
    assert entry.note.endswith("checked here")
    assert there.get("net:best").ref == "net:v1"
    assert there.audit().is_clean


def test_update_takes_what_the_source_says(hub: Registry, there: Registry) -> None:
    push(hub, 1, tags={"task": "seg"})
    push(hub, 2, aliases=["best"])
    hub.copy("net", there.address)
    there.push(weights(1), "net", metrics={"acc": 0.9}, tags={"task": "cls"}, note="checked here", aliases=["best"])
    hub.copy("net", there.home, update=True)
    assert [account(entry) for entry in there.list()] == [account(entry) for entry in hub.list()]
    assert there.audit().is_clean
    assert {version.outcome for version in hub.copy("net", there.home, update=True).versions} == {"already there"}


def test_parents_are_known_by_what_they_are_there(hub: Registry, there: Registry) -> None:
    push(there, 9)
    push(hub, 1)
    push(hub, 2, parent="net:v1")
    push(hub, 3, "other", parent="net:v2")
    hub.copy(None, there.address)
    assert there.get("other:v1").parent == "net:v3"
    assert there.get("net:v3").parent == "net:v2"
    assert there.audit().is_clean


def test_a_parent_that_comes_later_is_found_then(hub: Registry, there: Registry) -> None:
    push(hub, 1, "first")
    push(hub, 2, parent="first:v1")
    hub.copy("net", there.address)
    assert there.get("net").parent == "first:v1"
    hub.copy("first", there.home, name="renamed")
    assert there.get("net").parent == "renamed:v1"


def test_a_model_that_was_renamed_on_either_side_is_the_same_model(hub: Registry, there: Registry) -> None:
    push(hub, 1)
    hub.copy("net", there.address)
    hub.rename("net", "team/net")
    there.rename("net", "theirs")
    push(hub, 2, "team/net")
    first, second = hub.copy("team/net", there.address).versions
    assert (first.ref, first.outcome) == ("theirs:v1", "already there")
    assert (second.ref, second.outcome) == ("theirs:v2", "copied")
    assert {event.reference for event in there.log("theirs") if event.verb == "push"} == {"net:v1", "team/net:v2"}
    assert there.audit().is_clean


@pytest.mark.in_a_folder
def test_a_copied_class_is_not_trusted(hub: Registry, there: Registry) -> None:
    from nets import OnlyChild

    hub.push(OnlyChild(), "only", init={})
    assert isinstance(hub.load("only"), OnlyChild)
    hub.copy("only", there.address)
    with pytest.raises(errors.UntrustedClass, match=f"comes from {hub.address}"):
        there.load("only")
    assert isinstance(there.load("only", model="nets:OnlyChild"), OnlyChild)


def test_a_job_goes_on_from_a_copy_whose_optimizer_is_stored_with_other_tensors_there(
    hub: Registry, there: Registry, tmp_path: Path
) -> None:
    optimizer = trained(hub)[1]
    buffers = [state["momentum_buffer"] for state in optimizer.state_dict()["state"].values()]
    there.push({str(number): buffer for number, buffer in enumerate(buffers)}, "buffers")
    hub.copy("trained", there.address)
    assert there.audit().is_clean
    assert there.gc().files == ()
    there.copy("trained", tmp_path / "on.bundle")
    last = Registry(tmp_path / "last")
    last.copy(tmp_path / "on.bundle")
    for home in (there, last):
        assert home.get("trained").record_digest == hub.get("trained").record_digest
        fresh = torch.nn.Linear(3, 2)
        again = torch.optim.SGD(fresh.parameters(), lr=0.5, momentum=0.5)
        home.resume("trained", fresh, again)
        found = [state["momentum_buffer"] for state in again.state_dict()["state"].values()]
        assert all(torch.equal(one, other) for one, other in zip(found, buffers, strict=True))
        assert home.replay("trained", model=fresh).deviation is None
        assert home.audit().is_clean


def test_the_history_grows_with_what_happens_to_the_source_later(
    hub: Registry, there: Registry, tmp_path: Path
) -> None:
    push(hub, 1)
    hub.copy("net", there.address)
    hub.alias("net:v1", "best")
    hub.copy("net", there.address)
    assert told(there, "net", came=True) == told(hub, "net", came=False)
    third = Registry(tmp_path / "third")
    there.copy("net", third.home)
    assert {event.hash for event in hub.log("net")} < {event.hash for event in third.log("net") if event.origin}
    assert {event.origin for event in third.log("net")} == {None, str(hub.address), str(there.home)}


def test_the_filters_of_a_log_choose_from_what_came_with_copies_too(hub: Registry, there: Registry) -> None:
    push(hub, 1)
    hub.alias("net:v1", "best")
    hub.copy("net", there.home)
    hub.tag("net:v1", {"task": "seg"})
    hub.copy("net", there.home)
    push(there, 2)
    whole = there.log("net")
    for verb in ("push", "alias", "tag", "copy"):
        assert there.log("net", verb=verb) == tuple(event for event in whole if event.verb == verb)
    assert {event.origin for event in there.log(verb="alias")} == {None, str(hub.home)}
    user, host = whole[0].actor.split("@")
    assert there.log("net", by=user) == there.log("net", by=f"{user}@{host}") == whole
    assert there.log("net", by="nobody") == there.log("net", before="2001-01-01") == ()
    assert there.log("net", after="2001-01-01") == whole
    middle = whole[3].at
    assert there.log("net", after=str(middle)) == tuple(event for event in whole if event.at >= middle)
    assert there.log("net", 2, before=str(middle)) == tuple(event for event in whole if event.at < middle)[:2]


def test_a_version_whose_trail_was_edited_is_not_handed_on(hub: Registry, there: Registry) -> None:
    import sqlite3
    from contextlib import closing

    push(hub, 1)
    hub.close()
    with closing(sqlite3.connect(hub.home / "registry.db")) as connection, connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute("UPDATE events SET actor = 'nobody@nowhere'")
    with pytest.raises(errors.ChangedVersion, match="audit"):
        hub.copy("net", there.address)
    assert is_empty(there)


def test_damaged_bytes_are_not_handed_on(hub: Registry, there: Registry, tmp_path: Path) -> None:
    push(hub, 1)
    [blob] = hub.home.glob("blobs/*/*")
    blob.chmod(0o600)
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(errors.CorruptTensors):
        hub.copy("net", there.address)
    with pytest.raises(errors.CorruptTensors):
        hub.copy("net", tmp_path / "net.bundle")
    assert is_empty(there)
    assert not list(there.home.glob("blobs/*/*"))
    assert not list(tmp_path.glob("*.bundle"))
    assert not list(tmp_path.glob(".*"))


def test_what_is_in_the_trash_is_not_copied_and_there_not_written_to(hub: Registry, there: Registry) -> None:
    push(hub, 1)
    push(hub, 2)
    hub.copy("net", there.address)
    hub.rm("net:v2")
    there.rm("net:v1")
    hub.push(weights(1), "net", metrics={"f1": 1.0})
    [version] = hub.copy("net", there.address).versions
    assert (version.ref, version.outcome) == ("net:v1", "in the trash")
    assert there.list(trashed=True)[0].metrics == {"acc": 0.1}
    with pytest.raises(errors.TrashedVersion):
        hub.copy("net:v2", there.address)


def test_a_dry_run_says_what_a_copy_does_and_does_nothing(hub: Registry, there: Registry) -> None:
    push(hub, 1, aliases=["best"])
    push(hub, 2)
    would = hub.copy("net", there.home, dry_run=True)
    assert not there.home.exists()
    push(there, 9)
    there.close()
    before = files(there.home)
    would = hub.copy("net", there.home, dry_run=True)
    assert files(there.home) == before
    did = hub.copy("net", there.address)
    assert [(v.source, v.ref, v.outcome) for v in would.versions] == [
        (v.source, v.ref, v.outcome) for v in did.versions
    ]


def _note(calls: list[tuple[int, int]], done: int, total: int) -> None:
    calls.append((done, total))


def test_progress_ends_where_it_says(hub: Registry, there: Registry, tmp_path: Path) -> None:
    push(hub, 1)
    push(hub, 2)
    for place in (there.home, tmp_path / "x.bundle"):
        calls: list[tuple[int, int]] = []
        hub.copy("net", place, progress=partial(_note, calls))
        assert calls[-1][0] == calls[-1][1] > 0
        assert calls == sorted(calls)


@pytest.mark.parametrize(
    ("refs", "to", "error"),
    [
        ("net", "desk", errors.NotAPlace),
        ("net", "net:v1", errors.NotAPlace),
        ("net", "https://example.org/home", errors.InvalidAddress),
        ("https://example.org/x.bundle", "./desk", errors.NotDownloaded),
        ("net", None, errors.NotAPlace),
        (Path("best.pth"), "./desk", errors.NotABundleName),
        ("missing.bundle", "./desk", errors.NoSuchBundle),
        ("nothing", "./desk", errors.UnknownModel),
        ([], "./desk", errors.NothingToCopy),
        (3, "./desk", errors.InvalidArgument),
        ("net", 3, errors.InvalidArgument),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(
    hub: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refs, to, error
) -> None:
    monkeypatch.chdir(tmp_path)
    push(hub, 1)
    with pytest.raises(error):
        hub.copy(refs, to)
    assert not (tmp_path / "desk").exists()


def test_a_home_is_not_copied_into_itself_by_whatever_path(hub: Registry, tmp_path: Path) -> None:
    push(hub, 1)
    (tmp_path / "link").symlink_to(hub.home)
    for place in (hub.home, tmp_path / "link"):
        with pytest.raises(errors.SameHome):
            hub.copy("net", place)


def test_the_package_has_the_verb(hub: Registry, there: Registry) -> None:
    entry = push(hub, 1)
    assert registry.copy(entry, there.address).versions[0].outcome == "copied"


def _copy(source: Path, target: Path, start) -> None:
    start.wait()
    Registry(source).copy(None, target)


def test_two_copies_of_the_same_versions_at_once_make_each_once(hub: Registry, there: Registry) -> None:
    many(hub, 3, 4)
    trained(hub)
    hub.close()
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    processes = [context.Process(target=_copy, args=(hub.address, there.home, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(entry.ref for entry in there.list()) == sorted(entry.ref for entry in hub.list())
    copies = [event.reference for event in there.log() if event.verb == "copy" and event.origin is None]
    assert len(copies) == len(set(copies)) == 13
    assert there.audit().is_clean
    assert there.gc().files == ()


def _parted(hub: Registry, there: Registry) -> None:
    """Let two homes have the same model, and other versions of it: one was made of the other's files."""
    push(hub, 1)
    push(hub, 2, parent="net:v1")
    hub.close()
    shutil.copytree(hub.home, there.address)
    push(hub, 3, parent="net:v2")
    push(hub, 4, parent="net:v3")
    push(there, 5)
    push(there, 6)


def test_prune_keeps_the_parents_of_what_has_another_number_here(hub: Registry, there: Registry) -> None:
    _parted(hub, there)
    hub.copy(None, there.address)
    assert there.get("net").parent == "net:v5"
    report = there.prune("net", keep_last=1, dry_run=False)
    assert report.removed == ("net:v4", "net:v3")
    assert {kept.ref: kept.reasons for kept in report.kept}["net:v5"] == ("parent of net:v6",)
    assert there.audit().is_clean


def test_prune_keeps_a_parent_that_came_later_under_another_number(hub: Registry, there: Registry) -> None:
    _parted(hub, there)
    hub.copy("net:v4", there.address)
    hub.copy("net:v3", there.address)
    push(there, 7)
    there.alias("net:v5", "best")
    assert "net:v6" not in there.prune("net", keep_last=1).removed


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_a_version_from_the_end_of_the_calendar_is_shown_in_any_zone(
    hub: Registry, tmp_path: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(hub, 1)
    hub.copy("net", tmp_path / "good.bundle")
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    for moment in ("0001-01-01T00:00:00.000000+00:00", "9999-12-31T23:59:59.999999+00:00"):
        there = Registry(tmp_path / moment[:4])
        parts = Forgery.of(tmp_path / "good.bundle")
        parts.versions[0]["created_at"] = moment
        (tmp_path / "forged.bundle").write_bytes(parts.bytes())
        there.copy(tmp_path / "forged.bundle")
        for command in (("show", "net"), ("list", "net"), ("models",), ("log",)):
            assert run(*command, home=there.home).stdout
    monkeypatch.undo()
    time.tzset()
