"""What older events, which carry no digest of the facts, hold of a version, an alias and a model."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from registry.catalog.history import History
from registry.catalog.rows import Event


def told(*events: tuple[str, dict[str, Any]], model: str | None = "net") -> History:
    """Replay events about ``net:v1`` at the times "1", "2", and so on; the first is its push."""
    history = History()
    for number, (verb, details) in enumerate(events, 1):
        text = details if isinstance(details, str) else json.dumps(details)
        history.tell(Event(number, str(number), "me", verb, model, "net:v1", "w", text, "", f"hash{number}", None))
    return history


PUSH = ("push", {"record": "r", "metrics": {"a": 1}, "tags": {"of": "x"}, "note": "good"})


def row(**changed: Any) -> Any:
    facts: dict[str, Any] = {"weights": "w", "record": "r", "created_at": "1", "sealed_as": "net", "note": "good"}
    facts |= {"trashed_at": None, "purged_at": None}
    return SimpleNamespace(**{**facts, **changed})


def said(history: History, metrics: dict[str, Any], tags: dict[str, Any], **changed: Any) -> list[str]:
    return list(history.versions["net:v1"].contradictions(row(**changed), metrics, tags))


@pytest.mark.parametrize(
    ("events", "metrics", "tags", "changed"),
    [
        ([], {"a": 1}, {"of": "x"}, {}),
        ([("note", {"metrics": {"b": 2}}), ("note", {"metrics": {"b": 3}})], {"a": 1, "b": 3}, {"of": "x"}, {}),
        ([("note", {"tags": {"of": None, "on": "y"}})], {"a": 1}, {"on": "y"}, {}),
        ([("note", {"note": "better"})], {"a": 1}, {"of": "x"}, {"note": "good\n\nbetter"}),
        ([("rm", {})], {"a": 1}, {"of": "x"}, {"trashed_at": "2"}),
        ([("rm", {}), ("restore", {})], {"a": 1}, {"of": "x"}, {}),
        ([("rm", {}), ("gc", {})], {}, {}, {"trashed_at": "2", "purged_at": "3"}),
        ([("repair", "no JSON"), ("note", "[1]")], {"a": 1}, {"of": "x"}, {}),
    ],
)
def test_what_a_version_became_is_what_its_events_say(events, metrics, tags, changed):
    assert said(told(PUSH, *events), metrics, tags, **changed) == []


@pytest.mark.parametrize(
    ("metrics", "tags", "changed", "what"),
    [
        ({"a": 1}, {"of": "x"}, {"weights": "v"}, "its weights is 'v', and 'w' in the trail"),
        ({"a": 1}, {"of": "x"}, {"record": "v"}, "its record is 'v', and 'r' in the trail"),
        ({"a": 1}, {"of": "x"}, {"created_at": "0"}, "its created at is '0', and '1' in the trail"),
        ({"a": 1}, {"of": "x"}, {"note": "n" * 50}, f"its note is '{'n' * 37}…', and 'good' in the trail"),
        ({"a": 2}, {"of": "x"}, {}, "its metric a is 2, and 1 in the trail"),
        ({"a": 1, "b": 2}, {"of": "x"}, {}, "its metric b is 2, and absent in the trail"),
        ({"a": 1}, {}, {}, "its tag of is absent, and x in the trail"),
        ({"a": 1}, {"of": "x", "on": "y"}, {}, "its tag on is y, and absent in the trail"),
        ({"a": 1}, {"of": "x"}, {"trashed_at": "2"}, "it is in the trash since 2, and not in the trash in the trail"),
        ({"a": 1}, {"of": "x"}, {"purged_at": "2"}, "it is collected since 2, and not collected in the trail"),
    ],
)
def test_what_is_not_as_the_events_say_is_named(metrics, tags, changed, what):
    assert said(told(PUSH), metrics, tags, **changed) == [what]


def test_aliases_end_where_their_last_event_left_them():
    history = told(PUSH, ("alias", {"alias": "best"}), ("alias", {"alias": "last"}), ("unalias", {"alias": "best"}))
    assert history.aliases == {("net", "last"): "net:v1"}


def test_the_last_card_is_a_model_s():
    assert told(PUSH, ("card", {"card": "# Net"}), ("card", {"card": "# It"})).cards == {"net": "# It"}


def test_an_event_of_no_model_tells_its_time_alone():
    history = told(PUSH, model=None)
    assert (history.times, history.versions, history.uids) == ({"1"}, {}, {})
