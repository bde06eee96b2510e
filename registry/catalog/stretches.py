"""Long lists stretch by stretch, each item with the place after which the next stretch begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from registry.catalog import past, stretch_statements, trail
from registry.catalog.copies import Copies
from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.catalog.lineage import Descent
from registry.catalog.listing import ModelSummary, read, summarized
from registry.catalog.rows import Source
from registry.catalog.trail import Event, Only

_STEP = 1000
"""Events that are looked through at a time."""


class Stretches:
    """What a server answers page by page; rows are never renumbered, and new ones come last."""

    def __init__(self, database: Database, copies: Copies) -> None:
        self._database = database
        self._copies = copies

    def models_after(self, name: str, limit: int) -> Sequence[tuple[str, ModelSummary]]:
        """Return the next models that have a live version, in alphabetical order; their places are their names."""
        models = self._database.rows(stretch_statements.MODELS_AFTER, after=name, limit=limit)
        if not models:
            return ()
        between = {"after": name, "last": models[-1].name}
        aliases = self._database.rows(stretch_statements.ALIASES_BETWEEN, **between)
        return [(each.name, each) for each in summarized(models, aliases)]

    def sources_after(self, row: int, limit: int) -> Sequence[tuple[int, Source]]:
        """Return what the next versions were pushed from, the oldest first."""
        found = self._database.rows(stretch_statements.SOURCES_AFTER, after=row, limit=limit)
        return [
            (each.id, Source(each.name, each.number, each.source_digest, each.tensor_count, each.trashed_at))
            for each in found
        ]

    def descents_after(self, row: int, limit: int) -> Sequence[tuple[int, Descent]]:
        """Return what the next versions outside the trash were made from, the oldest first."""
        found = self._database.rows(stretch_statements.DESCENTS_AFTER, after=row, limit=limit)
        return [(each.id, Descent.read(each)) for each in found]

    def of_run_before(self, uid: str, run: str, row: int, limit: int) -> Sequence[tuple[int, Entry]]:
        """Return the next versions of a model that a training run pushed first, the newest first."""
        of_run = {"uid": uid, "run": run}
        found = self._database.rows(stretch_statements.RUN_BEFORE, **of_run, before=row, limit=limit)
        return list(zip(dict.fromkeys(each.id for each in found), read(found), strict=True))

    def events_before(
        self,
        names: Sequence[str] | None,
        only: Only,
        limit: int,
        older_than: int | None = None,
        sees: Callable[[str | None], bool] = lambda model: True,
    ) -> tuple[tuple[Event, ...], int | None]:
        """Return the next events of this home's trail, the newest first, and the number after which others follow.

        What came with a copied version is in the stretch of its copy, as far as it is asked for; of several copies
        more often. There are a few more than ``limit`` then: all of one copy stays together.

        Args:
            names: all that a model has and had; None for every model.
            sees: whether events of a model are told, by the name that it had then.

        Raises:
            UnknownVerb: there is no such verb.
        """
        own, is_all = self._seen(names, only, limit, older_than, sees)
        since = 1 if is_all else own[-1].number
        found: list[Event] = []
        for copy in self._copies_between(names, only, own, since, older_than):
            if sees(copy.name):
                number = int(str(copy.reference).rpartition(":v")[2])
                found += filter(only.holds, self._copies.history(str(copy.name), number))
                if len(found) + sum(event.number >= copy.number for event in own) >= limit and copy.number > since:
                    is_all, since = False, copy.number
                    break
        told = past.in_order([*(event for event in own if event.number >= since), *found])
        return tuple(told), None if is_all else since

    def _seen(
        self,
        names: Sequence[str] | None,
        only: Only,
        limit: int,
        older_than: int | None,
        sees: Callable[[str | None], bool],
    ) -> tuple[list[Event], bool]:
        """Return the next events that are told, and whether there are no others."""
        seen: list[Event] = []
        step = min(limit + 1, _STEP)
        while True:
            found = trail.events(self._database, names, step, only, older_than=older_than)
            seen += (event for event in found if sees(event.name))
            if len(seen) > limit:
                return seen[:limit], False
            if len(found) < step:
                return seen, True
            older_than = found[-1].number

    def _copies_between(
        self, names: Sequence[str] | None, only: Only, own: Sequence[Event], since: int, older_than: int | None
    ) -> Iterator[Event]:
        """Yield the newest copy first of those in a stretch, whose events may be asked for only in part."""
        if only == Only():
            yield from (event for event in own if event.verb == "copy" and event.name)
            return
        while True:
            asked = Only("copy")
            found = trail.events(self._database, names, _STEP, asked, older_than=older_than, since=since)
            yield from (event for event in found if event.name)
            if len(found) < _STEP:
                return
            older_than = found[-1].number
