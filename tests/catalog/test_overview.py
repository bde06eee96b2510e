"""Many versions at a glance: what a search could be narrowed to, how metrics went, what takes how much room."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drafts import digest, new_version, push, weights

from registry.catalog import overview
from registry.catalog.actor import acting_as
from registry.catalog.catalog import Catalog
from registry.catalog.grammar import parse
from registry.catalog.trail import Event, Only
from registry.tensors.manifest import Manifest


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(tmp_path / "home", actor="me")
    yield catalog
    catalog.close()


def fill(catalog: Catalog) -> None:
    """Six versions of two models."""
    for number in range(4):
        push(
            catalog, "net", number, metrics={"acc": number / 10, "loss": 1.0 - number / 10},
            tags={"task": "seg" if number else "cls"}, model_class=f"nets:{'Net' if number < 3 else 'Other'}",
            wrapper="ddp", creator="ann@lab",
        )  # fmt: skip
    push(catalog, "other", "a", tags={"task": "seg"}, creator="bob@desk")
    push(catalog, "other", "b", metrics={"acc": 0.9}, creator="bob@home")


def counted(found: overview.Narrowing, field: str) -> dict[str, int]:
    return {value.label: value.total for facet in found.facets if facet.field == field for value in facet.values}


def test_a_search_is_told_the_values_that_its_versions_have_and_how_often(catalog: Catalog) -> None:
    fill(catalog)
    found = catalog.overview.narrowing(parse(""))
    assert found.versions == 6 and not found.is_partial
    assert counted(found, "tag") == {"task=seg": 4, "task=cls": 1}
    assert counted(found, "class") == {"nets:Net": 3, "nets:Other": 1}
    assert counted(found, "wrapper") == {"ddp": 4, "none": 2}
    assert counted(found, "by") == {"ann@lab": 4, "bob@desk": 1, "bob@home": 1}
    narrowed = catalog.overview.narrowing(parse("net acc>0.1"))
    assert narrowed.versions == 2 and counted(narrowed, "tag") == {"task=seg": 2}


def test_every_value_of_a_facet_is_a_term_that_finds_that_many(catalog: Catalog) -> None:
    fill(catalog)
    for query in ("", "net", "acc>=0.1", "tag:task=seg sort:-acc"):
        asked = parse(query)
        for facet in catalog.overview.narrowing(asked).facets:
            for value in facet.values:
                found = catalog.search(replace(asked, terms=(*asked.terms, value.term)))
                by_user = facet.field == "by"  # a user is on several machines
                assert len(found) == value.total or (by_user and len(found) >= value.total), (query, value)


def test_a_metric_has_the_range_of_those_that_a_search_finds(catalog: Catalog) -> None:
    fill(catalog)
    ranges = {each.key: (each.total, each.low, each.high) for each in catalog.overview.narrowing(parse("net")).ranges}
    assert ranges == {"acc": (4, 0.0, 0.3), "loss": (4, 0.7, 1.0)}
    catalog.trash(catalog.resolve("net:v4"))
    ranges = {each.key: (each.total, each.low, each.high) for each in catalog.overview.narrowing(parse("net")).ranges}
    assert ranges["acc"] == (3, 0.0, 0.2)


def test_of_very_many_versions_the_newest_are_counted(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(catalog)
    monkeypatch.setattr(overview, "MOST", 3)
    found = catalog.overview.narrowing(parse(""))
    assert found.is_partial and counted(found, "by") == {"ann@lab": 1, "bob@desk": 1, "bob@home": 1}
    monkeypatch.setattr(overview, "MOST", 100)
    monkeypatch.setattr(overview, "MOST_LOOKED_AT", 2)
    found = catalog.overview.narrowing(parse("tag:task=seg"))
    assert found.is_partial and counted(found, "by") == {"bob@desk": 1}


def test_what_is_asked_in_a_snapshot_is_as_of_one_moment(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    with catalog.snapshot():
        before = catalog.models()
        with closing(Catalog(tmp_path / "home", actor="you")) as other:
            other.trash(other.resolve("net:v4"))
            push(other, "third", "c")
        assert catalog.models() == before
        assert [catalog.resolve(f"{model.name}:v{model.newest}").ref for model in before] == ["net:v4", "other:v2"]
        assert len(catalog.overview.series("net", "acc", 10)) == 4
    assert [(model.name, model.newest) for model in catalog.models()] == [("net", 3), ("other", 2), ("third", 1)]


def test_a_metrics_course_is_that_of_the_newest_live_versions_in_order(catalog: Catalog) -> None:
    fill(catalog)
    assert catalog.overview.series("net", "acc", 3) == ((2, 0.1), (3, 0.2), (4, 0.3))
    catalog.trash(catalog.resolve("net:v3"))
    assert catalog.overview.series("net", "acc", 10) == ((1, 0.0), (2, 0.1), (4, 0.3))
    assert catalog.overview.series("net", "none", 10) == catalog.overview.series("none", "acc", 10) == ()


def test_models_are_told_by_their_bytes_and_what_is_stored_counts_once(catalog: Catalog) -> None:
    fill(catalog)
    assert catalog.overview.sizes() == (("net", 4, 4 * 48), ("other", 2, 2 * 48))
    assert catalog.overview.stored() == 6 * 128


def test_a_version_knows_which_of_its_files_were_there_before(catalog: Catalog) -> None:
    first = push(catalog, "net", 1)
    manifest, blobs = weights(1)
    more, new = weights(2)
    both = Manifest({**manifest.tensors, "head.weight": more.tensors["fc.weight"]})
    second = catalog.add_version(new_version("net", both), both, new)
    assert catalog.overview.from_older(first) == frozenset()
    assert catalog.overview.from_older(second) == {digest("blob", 1)} == {blob.digest for blob in blobs}


def test_what_values_are_like_is_remembered_by_digest_and_found_out_again_when_it_was_edited(catalog: Catalog) -> None:
    remembered = catalog.remembered
    remembered.remember_statistics({"a": {"norm": 1.0}, "b": {"norm": 2.0}})
    remembered.remember_statistics({"a": {"norm": 3.0}})
    assert remembered.statistics(["a", "b", "c"]) == {"a": {"norm": 3.0}, "b": {"norm": 2.0}}
    edit(catalog, "UPDATE tensor_statistics SET body = '[' WHERE digest = 'a'")
    assert remembered.statistics(["a", "b"]) == {"b": {"norm": 2.0}}


def test_the_newest_audit_of_all_or_of_what_is_asked_for_is_remembered(catalog: Catalog) -> None:
    remembered = catalog.remembered
    assert remembered.last_audit(["net"]) is None
    with acting_as("ann"):
        remembered.remember_audit(None, 6, {"net:v1": ["a byte is another"]})
    remembered.remember_audit("other", 2, {})
    found = remembered.last_audit(["net", "net:v1"])
    assert found is not None and (found.asked, found.versions) == (None, 6)
    assert found.faults == {"net:v1": ["a byte is another"]}
    other = remembered.last_audit(["other"])
    assert other is not None and other.asked == "other" and other.faults == {}
    edit(catalog, "UPDATE audits SET faults = '7'")
    assert remembered.last_audit(["net"]) is None


def test_the_events_of_a_version_are_its_own_under_every_name(catalog: Catalog) -> None:
    fill(catalog)
    first = catalog.resolve("net:v1")
    catalog.add_facts(first, tags={"a": "b"})
    catalog.rename("net", "seen")
    catalog.add_facts(catalog.resolve("seen:v1"), tags={"a": "c"})
    catalog.add_facts(catalog.resolve("seen:v2"), tags={"a": "d"})
    told = catalog.events_of(catalog.resolve("seen:v1"), 10)
    assert [(event.verb, event.reference) for event in told] == [
        ("note", "seen:v1"),
        ("note", "net:v1"),
        ("push", "net:v1"),
    ]
    assert catalog.events_of(catalog.resolve("seen:v1"), 1) == told[:1]


def test_the_trail_is_read_page_by_page(catalog: Catalog) -> None:
    fill(catalog)
    every = catalog.own_events(None, 100, Only())
    pages: list[Event] = []
    older = None
    while page := catalog.own_events(None, 2, Only(), older):
        pages += page
        older = page[-1].number
    assert tuple(pages) == every and len(every) == 6
    [event] = catalog.own_events("other", 1, Only(verb="push"), every[0].number)
    assert event.reference == "other:v1"


def edit(catalog: Catalog, statement: str) -> None:
    with closing(sqlite3.connect(catalog.path)) as connection, connection:
        connection.execute(statement)


def test_a_version_knows_what_was_trained_from_it(catalog: Catalog) -> None:
    first = push(catalog, "net", 1)
    of_it: dict[str, Any] = {"parent": first.ref, "parent_uid": first.uid, "parent_number": 1}
    of_it["parent_record"] = first.record_digest
    children = [push(catalog, name, name, **of_it) for name in ("net", "other", "gone")]
    push(catalog, "net", "grandchild", parent="net:v2", parent_uid=first.uid, parent_number=2, parent_record="x")
    catalog.trash(children[2])
    assert [each.ref for each in catalog.lineage.children(first, 10)] == ["other:v1", "net:v2"]
    assert [each.ref for each in catalog.lineage.children(first, 1)] == ["other:v1"]
    catalog.rename("net", "seen")
    assert [each.ref for each in catalog.lineage.children(catalog.resolve("seen:v1"), 10)] == ["other:v1", "seen:v2"]
