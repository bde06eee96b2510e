"""What prune keeps: properties of the rules, and the verb itself."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

import registry
from registry import Entry, Registry, errors
from registry.catalog.lineage import Descent
from registry.upkeep.retention import Best, Rules, decide

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def entry(version: int, **facts: Any) -> Entry:
    own = {
        "digest": f"{version:064x}",
        "record_digest": f"{version + 1000:064x}",
        "seal": "",
        "uid": "u",
        "metrics": {},
    }
    return Entry(name="net", version=version, sealed_as="net", **{"aliases": (), "created_at": NOW, **own, **facts})


def child_of(parent: Entry, version: int) -> Entry:
    of = {"parent_uid": parent.uid, "parent_number": parent.version, "parent_record": parent.record_digest}
    return entry(version, parent=parent.ref, **of)


def kept(entries: list[Entry], rules: Rules, others: list[Descent] | None = None) -> set[int]:
    return {verdict.entry.version for verdict in decide(entries, rules, NOW, others or []) if verdict.reasons}


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """Versions with metrics, tags, aliases and ages; some with a parent, or an adapter of the weights of another."""
    made: list[Entry] = []
    for version in sorted(draw(st.sets(st.integers(1, 30), min_size=1, max_size=12))):
        facts: dict[str, Any] = {
            "metrics": draw(st.dictionaries(st.sampled_from(["acc", "loss"]), st.floats(-5, 5))),
            "tags": draw(st.dictionaries(st.sampled_from(["release", "task"]), st.sampled_from(["a", "b"]))),
            "aliases": ("best",) if draw(st.integers(0, 3)) == 0 else (),
            "created_at": NOW - timedelta(days=draw(st.integers(0, 90))),
        }
        if draw(st.booleans()) and made:
            child = child_of(draw(st.sampled_from(made)), version)
            facts |= {fact: getattr(child, fact) for fact in Descent._fields[2:6]}
        if made and draw(st.integers(0, 4)) == 0:
            facts["base"] = draw(st.sampled_from(made)).digest
        made.append(entry(version, **facts))
    return made


rules = st.builds(
    Rules,
    keep_last=st.none() | st.integers(1, 5),
    keep_best=st.lists(
        st.builds(Best, st.sampled_from(["acc", "loss"]), st.integers(1, 3), st.sampled_from(["max", "min"])),
        max_size=2,
    ).map(tuple),
    keep_aliased=st.booleans(),
    keep_tags=st.lists(st.sampled_from(["release", "task=a"]), max_size=1).map(tuple),
    keep_within=st.none() | st.integers(0, 60).map(lambda days: timedelta(days=days)),
)


@given(histories(), rules)
def test_the_newest_and_what_an_alias_points_to_always_stay(entries, asked):
    stays = kept(entries, asked)
    assert max(each.version for each in entries) in stays
    assert {each.version for each in entries if each.aliases} <= stays


@given(histories(), rules)
def test_parents_and_bases_of_what_stays_stay(entries, asked):
    stays = kept(entries, asked)
    for each in entries:
        if each.version in stays:
            assert each.parent_number is None or each.parent_number in stays
            assert {other.version for other in entries if other.digest == each.base} <= stays


@given(histories(), rules, rules)
def test_two_sets_of_rules_together_keep_what_each_of_them_keeps(entries, one, other):
    both = Rules(
        keep_last=max(one.keep_last or 0, other.keep_last or 0) or None,
        keep_best=(*one.keep_best, *other.keep_best),
        keep_aliased=one.keep_aliased or other.keep_aliased,
        keep_tags=(*one.keep_tags, *other.keep_tags),
        keep_within=max((w for w in (one.keep_within, other.keep_within) if w is not None), default=None),
    )
    assert kept(entries, one) | kept(entries, other) <= kept(entries, both)


@given(histories(), rules)
def test_what_is_decided_does_not_depend_on_the_order_and_a_second_time_nothing_goes(entries, asked):
    stays = kept(entries, asked)
    assert kept(entries[::-1], asked) == stays
    assert kept([each for each in entries if each.version in stays], asked) >= stays - {0}


@given(histories(), st.integers(1, 5), st.sampled_from(["max", "min"]))
def test_nothing_that_goes_is_better_than_the_best_that_stay(entries, count, mode):
    stays = kept(entries, Rules(keep_best=(Best("acc", count, mode),)))
    went = [each.metrics["acc"] for each in entries if each.version not in stays and "acc" in each.metrics]
    best = sorted((e.metrics["acc"] for e in entries if "acc" in e.metrics), reverse=mode == "max")[:count]
    assert all((figure <= best[-1]) if mode == "max" else (figure >= best[-1]) for figure in went)


def test_the_parents_of_what_stays_stay_all_the_way_up():
    first = entry(1)
    second = child_of(first, 2)
    third = child_of(second, 3)
    assert kept([first, second, third, entry(4), entry(5)], Rules(keep_last=3)) == {1, 2, 3, 4, 5}
    assert kept([first, second, entry(3), entry(4)], Rules(keep_last=1)) == {4}


def test_a_version_from_before_parents_had_an_identity_keeps_its_parent():
    assert kept([entry(1), entry(2), entry(3), entry(4, parent="net:v1")], Rules(keep_last=1)) == {1, 4}


def test_versions_of_other_models_keep_their_parents_and_bases_here():
    adapter = Descent("lora:v1", "w", None, None, None, None, entry(2).digest)
    tuned = Descent.of(replace(child_of(entry(1), 1), name="tuned", uid="t"))
    assert kept([entry(1), entry(2), entry(3), entry(4)], Rules(keep_last=1), [adapter, tuned]) == {1, 2, 4}


def test_of_equally_good_versions_the_newer_ones_stay():
    entries = [entry(version, metrics={"acc": 0.5}) for version in (1, 2, 3, 4)]
    assert kept([*entries, entry(5)], Rules(keep_best=(Best("acc", 2),))) == {3, 4, 5}


@pytest.mark.parametrize(
    ("rule", "read"),
    [
        ("acc:3", Best("acc", 3, "max")),
        ("loss:1:min", Best("loss", 1, "min")),
        ("acc:3:max", Best("acc", 3, "max")),
        ("top:5:2", Best("top:5", 2, "max")),
        ("min:4", Best("min", 4, "max")),
        ("val/loss:10:min", Best("val/loss", 10, "min")),
    ],
)
def test_a_rule_about_the_best_is_read_from_its_end(rule, read):
    assert Best.of(rule) == read


@pytest.mark.parametrize(
    "rule", ["acc", "acc:", ":3", "acc:0", "acc:-1", "acc:1.5", "acc:three", "acc:3:up", "acc:\u0663", ""]
)
def test_a_rule_about_the_best_that_cannot_be_read_is_refused(hub, rule):
    hub.push({"w": torch.zeros(1)}, "net", metrics={"acc": 1})
    with pytest.raises(errors.InvalidRule, match="METRIC:NUMBER"):
        hub.prune("net", keep_best=[rule])


# The verb


def pushed(hub: Registry, count: int, **facts: Any) -> list[Entry]:
    return [
        hub.push({"w": torch.full((100,), float(n))}, "net", metrics={"acc": n / 10}, **facts) for n in range(count)
    ]


def versions(hub: Registry) -> list[int]:
    return sorted(each.version for each in hub.list("net"))


def test_prune_only_says_what_would_go_until_it_is_told_to(hub: Registry):
    pushed(hub, 4)
    report = hub.prune("net", keep_last=1)
    assert report.dry_run and report.removed == ("net:v3", "net:v2", "net:v1") and versions(hub) == [1, 2, 3, 4]
    assert hub.prune("net", keep_last=1, dry_run=False).removed == report.removed
    assert versions(hub) == [4] and hub.restore("net:v2").version == 2


def test_every_version_kept_has_its_reasons(hub: Registry):
    pushed(hub, 5)
    hub.alias("net:v1", "paper")
    hub.push({"w": torch.ones(3)}, "net", tags={"release": "1.0"}, parent="net:v2")
    report = hub.prune("net", keep_best=["acc:1", "acc:1:min"], keep_tags=["release"], keep_within="0s")
    assert {each.ref: each.reasons for each in report.kept} == {
        "net:v6": ("newest", "tag release"),
        "net:v5": ("best 1 by acc (max)",),
        "net:v2": ("parent of net:v6",),
        "net:v1": ("alias paper", "best 1 by acc (min)"),
    }


def test_keeping_what_is_aliased_is_a_rule_of_its_own(hub: Registry):
    pushed(hub, 3)
    hub.alias("net:v1", "best")
    hub.prune("net", keep_aliased=True, dry_run=False)
    assert versions(hub) == [1, 3]


def test_a_time_may_be_a_text_a_timedelta_or_seconds(hub: Registry):
    pushed(hub, 3)
    for period in ("1d", timedelta(days=1), 86400):
        assert hub.prune("net", keep_within=period).removed == ()
    assert len(hub.prune("net", keep_within=timedelta(0)).removed) == 2
    with pytest.raises(errors.InvalidArgument, match="'30d'"):
        hub.prune("net", keep_within="a month")


def test_without_a_rule_nothing_is_decided(hub: Registry):
    pushed(hub, 2)
    nothings: list[dict[str, Any]] = [{}, {"keep_best": []}, {"keep_tags": (), "keep_aliased": False}]
    for nothing in nothings:
        with pytest.raises(errors.NoRule, match="--keep-last"):
            hub.prune("net", dry_run=False, **nothing)
    assert versions(hub) == [1, 2]


def test_a_metric_that_no_version_has_is_an_error_and_nothing_goes(hub: Registry):
    pushed(hub, 3)
    with pytest.raises(errors.UnknownMetric, match=r"'accuracy'.*'acc'"):
        hub.prune("net", keep_last=1, keep_best=["accuracy:3"], dry_run=False)
    assert versions(hub) == [1, 2, 3]


def test_a_tag_that_no_version_has_takes_no_version_away(hub: Registry):
    pushed(hub, 3)
    hub.tag("net:v1", {"release": "1.0"})
    for tag in ("releases", "release=2.0", "=1.0", ""):
        for aliased in (False, True):
            with pytest.raises(errors.UnknownTag, match="they have 'release'"):
                hub.prune("net", keep_tags=[tag], keep_aliased=aliased, dry_run=False)
    report = hub.prune("net", keep_tags=["release", "final"], dry_run=False)
    assert report.notices == ("no version of net has the tag 'final'",) and versions(hub) == [1, 3]
    assert hub.prune("net", keep_last=1, keep_tags=["final"]).notices == report.notices


def test_the_bytes_that_gc_frees_are_those_that_were_said(hub: Registry):
    pushed(hub, 3)
    hub.push({"w": torch.full((100,), 1.0), "more": torch.zeros(7)}, "other")  # shares what net:v2 has
    said, stored = hub.prune("net", keep_last=1, dry_run=False).nbytes, hub.store.size()
    hub.gc(grace=timedelta(0))
    assert said == stored - hub.store.size() > 0


def test_an_adapters_base_stays_though_it_is_another_model(hub: Registry):
    pushed(hub, 3)
    base = hub.get("net:v1")
    hub.push({"lora": torch.ones(2)}, "tuned", parent=base)
    assert hub.prune("net", keep_last=1).removed == ("net:v2",)


def test_what_was_named_while_it_was_decided_stays(hub: Registry):
    """The decision is made again under the lock, which a writer in another thread holds until it has set an alias."""
    pushed(hub, 3)
    other, begun = registry.Registry(hub.address), threading.Event()

    def name_it() -> None:
        with other.catalog.write_lock():
            begun.set()
            thread_has_decided.wait(1)
            other.alias("net:v1", "paper")

    thread_has_decided = threading.Event()
    naming = threading.Thread(target=name_it)
    naming.start()
    begun.wait()
    assert hub.prune("net", keep_last=1).removed == ("net:v2", "net:v1")
    thread_has_decided.set()
    assert hub.prune("net", keep_last=1, dry_run=False).removed == ("net:v2",)
    naming.join()


def test_an_unknown_model_is_an_error(hub: Registry):
    pushed(hub, 1)
    with pytest.raises(errors.UnknownModel, match="net"):
        hub.prune("nett", keep_last=1)


def test_versions_in_the_trash_count_for_nothing(hub: Registry):
    pushed(hub, 4)
    hub.rm("net:v4")
    assert hub.prune("net", keep_last=2).removed == ("net:v1",)
