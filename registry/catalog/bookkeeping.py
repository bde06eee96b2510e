"""Whether the tables say what the trail tells of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from registry.catalog import lookup, name_statements, row_digest, statements, tokens, trail
from registry.catalog.database import Database
from registry.catalog.history import History, Told
from registry.catalog.rows import Version
from registry.catalog.trail import Flaw


@dataclass(frozen=True)
class Bookkeeping:
    """What a comparison of the tables with the trail found."""

    trail: tuple[Flaw, ...] = ()
    """The trail is not what was written; with it, nothing was compared."""
    rows: tuple[Flaw, ...] = ()
    """A version, an alias or a model is not as its last event left it."""
    uncovered: int = 0
    """Versions whose last event was written before events carried the digest of the facts."""
    covered_from: int = 0
    """The number of the first event that carries it, be it one to come."""


def check(database: Database, name: str | None = None, number: int | None = None) -> Bookkeeping:
    """Replay the trail and compare the tables with it, as they were at one moment.

    Args:
        name: only this model, by the name that it has now. Its events, under all names that the tables say that it had,
            are found by the index; of the others, only the trail's end is looked at.
        number: only this version of it, and the aliases that point there.
    """
    with database.snapshot():
        history = History()
        names = None if name is None else lookup.names(database, name)
        broken = tuple(trail.check(database, names, history.tell))
        if broken:
            return Bookkeeping(broken)
        uncovered = 0
        rows: list[Flaw] = []
        for reference, told, faults in _versions(database, name, history):
            if number is None or reference == f"{name}:v{number}":
                uncovered += told is not None and told.facts is None
                rows += faults
        if name is None:
            rows += _foreign_keys(database)
        if number is None:
            rows += _models(database, name, history)
            rows += _former_names(database, name, history)
        wanted = None if number is None else f"{name}:v{number}"
        rows += _aliases(database, name, history, wanted)
        if name is None:
            rows += _blobs(database, history)
            rows += tokens.contradictions(database, history.tokens)
        covered_from = history.covered_from or trail.end(database)[0] + 1
        return Bookkeeping(rows=tuple(rows), uncovered=uncovered, covered_from=covered_from)


def _versions(database: Database, name: str | None, history: History) -> Iterator[tuple[str, Told | None, list[Flaw]]]:
    """Yield every version that has a row or an event, with what the two say against each other."""
    left = dict(history.versions)
    strange = []
    before = 0
    for row in _rows(database, name):
        reference = f"{row.name}:v{row.number}"
        told = left.pop(reference, None)
        if told is None:
            strange.append((reference, row))
        else:
            found = _differences(database, row, told)
            # Listings go by the ids; rows are never deleted, so these grow as the events do.
            if told.pushed_by < before:
                found.append("its row is not in the order of the pushes: its id was edited")
            before = told.pushed_by
            yield reference, told, [Flaw(reference, what) for what in found]
    pushed = {(told.record, told.created_at): reference for reference, told in left.items()}
    for reference, row in strange:
        was = pushed.get((row.record, row.created_at))
        left.pop(was or "", None)
        what = f"it is {was} by the trail: it was renamed by hand" if was else "the trail does not tell of its push"
        yield reference, None, [Flaw(reference, what)]
    for reference, told in left.items():
        what = f"it is gone from the catalog; event {told.pushed_by} tells of its push, and none that it was deleted"
        yield reference, told, [Flaw(reference, what)]


def _rows(database: Database, name: str | None) -> Iterator[Version]:
    statement = statements.facts_after(name)
    after = 0
    while rows := database.rows(statement, after=after):
        yield from rows
        after = rows[-1].id


def _differences(database: Database, row: Version, told: Told) -> list[str]:
    beside = row_digest.beside(database, row.id)
    if told.facts == row_digest.digest(row._asdict(), beside):
        return []
    found = list(told.contradictions(row, beside.metrics, beside.tags))
    if not found and told.facts is not None:
        found = [f"what the catalog says of it is not what event {told.last} left: it was edited"]
    return found


def _aliases(database: Database, name: str | None, history: History, wanted: str | None) -> Iterator[Flaw]:
    rows = database.rows(statements.aliases(name))
    here: dict[tuple[str | None, str], str] = {(row.name, row.alias): f"{row.name}:v{row.number}" for row in rows}
    for key in sorted(here.keys() | history.aliases.keys(), key=str):
        found, told = here.get(key), history.aliases.get(key)
        if found != told and wanted in (None, found, told):
            what = f"it {_points(found)}, and the trail says that it {_points(told)}"
            yield Flaw(f"{key[0]}:{key[1]}", what)


def _points(reference: str | None) -> str:
    return "points nowhere" if reference is None else f"points to {reference}"


def _models(database: Database, name: str | None, history: History) -> Iterator[Flaw]:
    newest: dict[str, int] = {}
    for reference in history.versions:  # in the order of their pushes
        model, _, number = reference.rpartition(":v")
        newest[model] = int(number)
    for row in database.rows(statements.models_themselves(name)):
        if row.name not in newest:
            yield Flaw(str(row.name), "the trail tells of no version of it: it was added, or renamed, by hand")
        elif row.card != history.cards.get(row.name):
            yield Flaw(str(row.name), "its card is not the one that the trail tells of")
        elif row.uid != history.uids[row.name]:
            yield Flaw(str(row.name), f"its uid is {row.uid!r}, and {history.uids[row.name]!r} by the trail")
        elif row.next_number != newest[row.name] + 1:
            what = f"its next number would be {row.next_number}, and {newest[row.name]} is the last that was given"
            yield Flaw(str(row.name), what)


def _former_names(database: Database, name: str | None, history: History) -> Iterator[Flaw]:
    here: dict[str, set[str]] = {}
    for row in database.rows(name_statements.former_names(name)):
        here.setdefault(row.name, set()).add(row.former)
    for model in sorted(here.keys() | history.former_names.keys(), key=str):
        found, told = here.get(model, set()), history.former_names.get(model, set())
        if found != told:
            yield Flaw(str(model), f"it was {_called(found)} before, and by the trail it was {_called(told)}")


def _called(names: Collection[str]) -> str:
    return f"called {', '.join(sorted(map(str, names)))}" if names else "called nothing else"


def _blobs(database: Database, history: History) -> Iterator[Flaw]:
    for row in database.rows(statements.KNOWN_BLOBS):
        if row.created_at not in history.times:
            yield Flaw("catalog", f"the file {row.digest:.12}… came at {row.created_at!r}, when nothing was pushed")


def _foreign_keys(database: Database) -> Iterator[Flaw]:
    """Yield the tables in which rows refer to rows that are not there."""
    dangling: dict[str, int] = {}
    for row in database.rows(database.backend.dangling) if database.backend.dangling is not None else ():
        dangling[row.table] = dangling.get(row.table, 0) + 1
    for table, count in dangling.items():
        yield Flaw("catalog", f"{count} rows of the table {table} refer to rows that are not there")


def places(database: Database) -> Mapping[str, tuple[str, int]]:
    """Return blob and offset of every tensor that a push would find stored, by digest."""
    return {row.digest: (row.blob, row.offset) for row in database.rows(statements.PLACES)}
