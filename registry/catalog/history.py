"""What the trail tells of every version and alias, replayed from its first event on. Pure.

The last event about a version carries the digest of its facts and decides. Older events, which do not carry it, still
say what a version was pushed as, which metrics and notes were added, where aliases went, what came into the trash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry.catalog.rows import Event, Version

from blake3 import blake3


@dataclass(slots=True)
class Told:
    """A version as its events tell it."""

    pushed_by: int
    """The number of its first event."""
    weights: str | None
    record: str
    created_at: str
    sealed_as: str
    """The model's name at its first event."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """None where one was taken out; so with tags."""
    tags: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    trashed_at: str | None = None
    purged_at: str | None = None
    last: int = 0
    """The number of its last event."""
    facts: str | None = None
    """Their digest, from the last event; None where that was written before events carried it."""

    def contradictions(self, row: Version, metrics: Mapping[str, Any], tags: Mapping[str, Any]) -> Iterator[str]:
        """Yield what a version's row, metrics and tags say against its events."""
        for column in ("weights", "record", "created_at", "sealed_as", "note"):
            if getattr(row, column) != getattr(self, column):
                yield f"its {column.replace('_', ' ')} is {_brief(getattr(row, column))}, and {self._trail(column)}"
        for key in sorted(metrics.keys() | self.metrics.keys(), key=str):
            if metrics.get(key) != self.metrics.get(key):
                here, told = _figure(metrics.get(key)), _figure(self.metrics.get(key))
                yield f"its metric {key} is {here}, and {told} in the trail"
        for key in sorted(tags.keys() | self.tags.keys(), key=str):
            if tags.get(key) != self.tags.get(key):
                here, told = _figure(tags.get(key)), _figure(self.tags.get(key))
                yield f"its tag {key} is {here}, and {told} in the trail"
        for column, state in (("trashed_at", "in the trash"), ("purged_at", "collected")):
            at, told_at = getattr(row, column), getattr(self, column)
            if at != told_at:
                yield f"it is {_state(state, at)}, and {_state(state, told_at)} in the trail"

    def _trail(self, column: str) -> str:
        return f"{_brief(getattr(self, column))} in the trail"


@dataclass
class History:
    """The catalog as the trail tells it."""

    versions: dict[str, Told] = field(default_factory=dict)
    """By reference, as all here by the names that models have now."""
    aliases: dict[tuple[str | None, str], str] = field(default_factory=dict)
    """References, by model and alias; an edited event may name no model."""
    uids: dict[str, str] = field(default_factory=dict)
    """What models are, by name."""
    cards: dict[str, Any] = field(default_factory=dict)
    """What models' users should know, by name."""
    former_names: dict[str, set[str]] = field(default_factory=dict)
    """What models were called before, by name."""
    times: set[str] = field(default_factory=set)
    """When something happened."""
    tokens: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What each token is for, by its number."""
    covered_from: int | None = None
    """The first event that carries a version's facts."""

    def tell(self, event: Event) -> None:
        """Go on by one event, a row of the table."""
        self.times.add(event.at)
        if event.verb == "token":
            self._tell_token(event)
        if event.name is None:
            return
        details = _details(event.details)
        if event.verb == "card":
            self.cards[event.name] = details.get("card")
        elif event.verb == "rename":
            self._rename(str(details.get("was")), event.name)
        if event.reference is None:
            return
        if event.name not in self.uids:
            self.uids[event.name] = str(details.get("uid") or _uid(event.hash))
        told = self.versions.get(event.reference)
        if told is None:
            # A copied version was made when it was pushed, wherever that was.
            made = str(details.get("created_at", event.at)) if event.verb == "copy" else event.at
            told = Told(event.id, event.digest, str(details.get("record")), made, event.name)
            self.versions[event.reference] = told
        told.last, told.facts = event.id, event.facts
        if event.facts is not None and self.covered_from is None:
            self.covered_from = event.id
        self._follow(event, event.reference, told, details)

    def _follow(self, event: Event, reference: str, told: Told, details: Mapping[str, Any]) -> None:
        if event.verb == "alias":
            self.aliases[event.name, str(details.get("alias"))] = reference
        elif event.verb == "unalias":
            self.aliases.pop((event.name, str(details.get("alias"))), None)
        elif event.verb == "rm":
            told.trashed_at = event.at
        elif event.verb == "restore":
            told.trashed_at = None
        elif event.verb == "gc":
            told.purged_at = event.at
            told.metrics, told.tags = {}, {}
        metrics, note = details.get("metrics"), details.get("note")
        if isinstance(metrics, dict) and metrics:
            told.metrics = {**told.metrics, **metrics}
        if isinstance(tags := details.get("tags"), dict):
            told.tags = {**told.tags, **tags}
        if isinstance(note, str) and note and event.verb == "copy":
            told.note = note
        elif isinstance(note, str) and note:
            told.note = f"{told.note}\n\n{note}" if told.note else note

    def _tell_token(self, event: Event) -> None:
        details = _details(event.details)
        number = details.get("token")
        if isinstance(number, int) and details.get("revoked"):
            self.tokens.setdefault(number, {})["revoked_at"] = event.at
        elif isinstance(number, int):
            self.tokens[number] = {**details, "created_at": event.at, "revoked_at": None}

    def _rename(self, old: str, new: str) -> None:
        """Tell by its new name all that was told of a model."""
        if old == new:
            return
        # In an event that was edited, which its hash shows, there may be bytes.
        own = [reference for reference in self.versions if str(reference).rpartition(":v")[0] == old]
        now = {reference: f"{new}:v{str(reference).rpartition(':v')[2]}" for reference in own}
        for reference in own:
            self.versions[now[reference]] = self.versions.pop(reference)
        for model, alias in [key for key in self.aliases if key[0] == old]:
            target = self.aliases.pop((model, alias))
            self.aliases[new, alias] = now.get(target, target)
        for told in (self.uids, self.cards):
            if old in told:
                told[new] = told.pop(old)
        self.former_names[new] = (self.former_names.pop(old, set()) | {old}) - {new}


def _uid(event: str) -> str:
    """Return what a model is whose first event, of this hash, does not say it: it is older than models had ids.

    As the fourth revision of the schema gave them.
    """
    return blake3(f"model of {event}".encode()).hexdigest()[:32]


def _details(text: str) -> dict[str, Any]:
    """Return an event's details; of an event that was edited, which its hash shows, there may be none."""
    try:
        details = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return details if isinstance(details, dict) else {}


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:38]}…'"


def _figure(value: Any) -> str:
    return "absent" if value is None else str(value)


def _state(state: str, at: Any) -> str:
    return f"{state} since {at}" if at is not None else f"not {state}"
