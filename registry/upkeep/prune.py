"""Putting the versions into the trash that no rule keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from registry.errors.upkeep import NoRule
from registry.home.home import Home
from registry.notebook import called, few, html_table
from registry.upkeep.retention import Rules, Verdict, decide, others


@dataclass(frozen=True)
class Kept:
    """A version that stays."""

    ref: str
    reasons: tuple[str, ...]
    """Every one of them: ``"newest"``, ``"best 3 by acc (max)"``, ``"parent of pointnet:v7"``."""


@dataclass(frozen=True)
class PruneReport:
    """What a prune put into the trash, or would."""

    name: str
    kept: tuple[Kept, ...]
    """The newest first; so are the others."""
    removed: tuple[str, ...]
    """References of the versions that went into the trash, from where ``restore`` takes them back."""
    nbytes: int
    """Bytes that ``gc`` frees once it empties the trash of them."""
    dry_run: bool
    notices: tuple[str, ...] = ()
    """What else there is to say: which tag that a rule names no version has."""

    def __repr__(self) -> str:
        return called(self, self._title())

    def _repr_html_(self) -> str:
        went = [(ref, "goes" if self.dry_run else "went", "no rule") for ref in self.removed]
        rows = [*((kept.ref, "stays", few(kept.reasons)) for kept in self.kept), *went]
        newest_first = sorted(rows, key=lambda row: -int(row[0].rpartition(":v")[2]))
        return html_table(self._title(), ("version", "", "why"), newest_first)

    def _title(self) -> str:
        verb = "would go" if self.dry_run else "went"
        return f"{self.name}: {len(self.kept)} stay, {len(self.removed)} {verb}, {self.nbytes:,} bytes for gc"


def prune(home: Home, name: str, rules: Rules, *, dry_run: bool) -> PruneReport:
    """Put the versions of a model that no rule keeps into the trash, in one transaction.

    What goes is decided under the lock: what somebody has pushed, tagged or pointed an alias to meanwhile counts.

    Raises:
        NoRule: nothing is said of what to keep.
        UnknownMetric: no version has a metric that is to decide.
        UnknownTag: no version has a tag by which alone versions are to be kept.
        UnknownModel: there is no such name.
    """
    name = home.current(name)
    if rules.is_empty:
        raise NoRule(name)
    if dry_run:
        return _report(home, name, *_verdicts(home, name, rules), dry_run=True)
    with home.catalog.write_lock():
        verdicts, notices = _verdicts(home, name, rules)
        report = _report(home, name, verdicts, notices, dry_run=False)
        home.catalog.trash(*(verdict.entry for verdict in reversed(verdicts) if not verdict.reasons))
    return report


def _verdicts(home: Home, name: str, rules: Rules) -> tuple[tuple[Verdict, ...], tuple[str, ...]]:
    """Return what becomes of each version, and what there is to say of the rules."""
    entries = home.catalog.entries(name)
    rules.check_metrics(name, entries)
    notices = tuple(f"no version of {name} has the tag '{tag}'" for tag in rules.unknown_tags(name, entries))
    return decide(entries, rules, datetime.now(UTC), others(home.catalog.lineage.descents(), entries)), notices


def _report(
    home: Home, name: str, verdicts: tuple[Verdict, ...], notices: tuple[str, ...], *, dry_run: bool
) -> PruneReport:
    going = [verdict.entry for verdict in verdicts if not verdict.reasons]
    return PruneReport(
        name=name,
        kept=tuple(Kept(verdict.entry.ref, verdict.reasons) for verdict in verdicts if verdict.reasons),
        removed=tuple(entry.ref for entry in going),
        nbytes=home.catalog.lineage.freed(going),
        dry_run=dry_run,
        notices=notices,
    )
