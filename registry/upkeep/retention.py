"""Which versions stay and which go: a pure function of what is known of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from registry.catalog.entry import Entry
from registry.catalog.lineage import Descent
from registry.errors.upkeep import InvalidRule, UnknownMetric, UnknownTag


@dataclass(frozen=True)
class Best:
    """The versions that are best by a metric."""

    metric: str
    count: int
    mode: str = "max"
    """``"max"``: more is better; ``"min"``: less is. Never read out of the metric's name."""

    @classmethod
    def of(cls, rule: str) -> Best:
        """Read ``acc:3`` or ``loss:3:min``; the metric itself may hold colons.

        Raises:
            InvalidRule
        """
        left, _, last = rule.rpartition(":")
        mode = last if last in ("max", "min") else ""
        metric, _, count = (left if mode else rule).rpartition(":")
        if not metric or not count.isascii() or not count.isdecimal() or not 1 <= len(count) <= 9 or not int(count):
            raise InvalidRule(rule)
        return cls(metric, int(count), mode or "max")

    def __str__(self) -> str:
        return f"{self.metric}:{self.count}:{self.mode}"

    def choose(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the best ones, the best first; of equal ones the newer ones. Who lacks the metric is none of them."""
        sign = -1.0 if self.mode == "min" else 1.0
        measured = [entry for entry in entries if self.metric in entry.metrics]
        return sorted(measured, key=lambda e: (sign * e.metrics[self.metric], e.version), reverse=True)[: self.count]


@dataclass(frozen=True)
class Rules:
    """What to keep: a version stays if one of them is about it."""

    keep_last: int | None = None
    """The newest ones."""
    keep_best: tuple[Best, ...] = ()
    keep_aliased: bool = False
    """Those that an alias points to. They stay in any case; as the only rule, nothing else does."""
    keep_tags: tuple[str, ...] = ()
    """Those that have the tag ``"release"``, or ``"task=seg"`` with this value."""
    keep_within: timedelta | None = None
    """Those that were pushed no longer ago."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return self == Rules()

    def check_metrics(self, name: str, entries: Collection[Entry]) -> None:
        """Refuse a metric that no version has: by it, none would be kept.

        Raises:
            UnknownMetric
        """
        for best in self.keep_best:
            if not self._has(best, entries):
                raise UnknownMetric(name, best.metric, sorted({metric for e in entries for metric in e.metrics}))

    def unknown_tags(self, name: str, entries: Collection[Entry]) -> tuple[str, ...]:
        """Return the tags that no version has, each of which keeps none.

        Raises:
            UnknownTag: and no other rule says what to keep.
        """
        unknown = tuple(tag for tag in self.keep_tags if not any(_has_tag(entry, tag) for entry in entries))
        if unknown and replace(self, keep_tags=(), keep_aliased=False).is_empty and len(unknown) == len(self.keep_tags):
            raise UnknownTag(name, unknown[0], sorted({tag for entry in entries for tag in entry.tags}))
        return unknown

    def are_measured(self, entries: Collection[Entry]) -> bool:
        """Whether of each metric that is to decide some version has a value."""
        return all(self._has(best, entries) for best in self.keep_best)

    @staticmethod
    def _has(best: Best, entries: Iterable[Entry]) -> bool:
        return any(best.metric in entry.metrics for entry in entries)


@dataclass(frozen=True)
class Verdict:
    """What becomes of a version."""

    entry: Entry
    reasons: tuple[str, ...]
    """Why it stays; none: it goes."""


def decide(
    entries: Sequence[Entry], rules: Rules, now: datetime, others: Iterable[Descent] = ()
) -> tuple[Verdict, ...]:
    """Say of each version whether it stays, and why; the newest first.

    It stays if a rule keeps it, if it is the newest, if an alias points to it, or if it is the parent or the base of a
    version that stays, be that one of these or another.

    Args:
        entries: live versions of one model.
        now: what ``keep_within`` counts from, in UTC.
        others: versions that stay whatever is decided here.
    """
    newest_first = sorted(entries, key=lambda entry: -entry.version)
    reasons: dict[int, list[str]] = {entry.version: [] for entry in newest_first}

    def keep(kept: Iterable[Entry], why: str) -> None:
        for entry in kept:
            reasons[entry.version].append(why)

    keep(newest_first[:1], "newest")
    for entry in newest_first:
        if entry.aliases:
            reasons[entry.version].append(f"alias {', '.join(entry.aliases)}")
    if rules.keep_last is not None:
        keep(newest_first[: rules.keep_last], f"last {rules.keep_last}")
    for best in rules.keep_best:
        keep(best.choose(newest_first), f"best {best.count} by {best.metric} ({best.mode})")
    for tag in rules.keep_tags:
        keep((entry for entry in newest_first if _has_tag(entry, tag)), f"tag {tag}")
    if rules.keep_within is not None:
        keep(
            (e for e in newest_first if now - e.created_at <= rules.keep_within), f"within {_worded(rules.keep_within)}"
        )
    _keep_needed(newest_first, reasons, others)
    return tuple(Verdict(entry, tuple(reasons[entry.version])) for entry in newest_first)


def _has_tag(entry: Entry, tag: str) -> bool:
    key, equals, value = tag.partition("=")
    return key in entry.tags and (not equals or entry.tags[key] == value)


def _keep_needed(entries: Sequence[Entry], reasons: dict[int, list[str]], others: Iterable[Descent]) -> None:
    """Keep parents and bases of what stays, and theirs."""
    family = _Family(entries)
    left = deque(Descent.of(entry) for entry in entries if reasons[entry.version])
    left.extend(others)
    while left:
        descent = left.popleft()
        for why, needed in (("parent", family.parents(descent)), ("base", family.bases(descent))):
            for entry in needed:
                if not reasons[entry.version]:
                    left.append(Descent.of(entry))
                reasons[entry.version].append(f"{why} of {descent.ref}")


def others(descents: Iterable[Descent], entries: Iterable[Entry]) -> list[Descent]:
    """Return the versions of a home that are not among the entries, and so stay whatever is decided of these."""
    decided = {Descent.of(entry).ref for entry in entries}
    return [descent for descent in descents if descent.ref not in decided]


class _Family:
    """Versions, to be found as what others say of their parent and base."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    @cached_property
    def _by_identity(self) -> dict[tuple[str, int, str], list[Entry]]:
        """By what they are called here, as versions name their parents, and by what their first home called them.

        By the latter they are named where the parent came later than the version.
        """
        found: dict[tuple[str, int, str], list[Entry]] = {}
        for entry in self._entries:
            for identity in {(entry.uid, entry.version, entry.record_digest), tuple(entry.identity)}:
                found.setdefault(identity, []).append(entry)  # type: ignore[arg-type]
        return found

    @cached_property
    def _by_text(self) -> dict[str, Entry]:
        return {text: entry for entry in self._entries for text in (f"{entry.sealed_as}:v{entry.version}", entry.ref)}

    @cached_property
    def _by_weights(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for entry in self._entries:
            found.setdefault(entry.digest, []).append(entry)
        return found

    def parents(self, descent: Descent) -> list[Entry]:
        if descent.parent_uid is not None and descent.parent_number is not None:
            key = (descent.parent_uid, descent.parent_number, descent.parent_record or "")
            return self._by_identity.get(key, [])
        found = self._by_text.get(descent.parent or "")
        return [found] if found is not None else []

    def bases(self, descent: Descent) -> list[Entry]:
        return self._by_weights.get(descent.base, []) if descent.base is not None else []


def _worded(period: timedelta) -> str:
    seconds = period.total_seconds()
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"
