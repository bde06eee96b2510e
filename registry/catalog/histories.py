"""What happened, as the trail and the histories of copied versions tell it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from registry.catalog import moves, trail
from registry.catalog.access import Access
from registry.catalog.entry import Entry
from registry.catalog.moves import Move
from registry.catalog.trail import Event, Only

if TYPE_CHECKING:
    from registry.catalog.copies import Copies


class Histories(Access):
    """The events of a catalog."""

    def events(self, name: str | None = None, limit: int | None = None, only: Only | None = None) -> tuple[Event, ...]:
        """Return the newest events first, of one model by whatever name it has or had, or of all.

        Those are among them that came with copied versions.

        Raises:
            UnknownModel, UnknownVerb: there is no such name, or verb.
        """
        names = None if name is None else self._names(name)
        asked = only or Only()
        return self.copies.with_histories(trail.events(self._database, names, limit, asked), names, limit, asked)

    def events_before(
        self,
        name: str | None,
        only: Only,
        limit: int,
        older_than: int | None = None,
        sees: Callable[[str | None], bool] = lambda model: True,
    ) -> tuple[tuple[Event, ...], int | None]:
        """Return the next events, the newest first, and the number after which others follow (see ``Stretches``).

        Raises:
            UnknownModel, UnknownVerb: there is no such name, or verb.
        """
        from registry.catalog.stretches import Stretches

        names = None if name is None else self._names(name)
        return Stretches(self._database, self.copies).events_before(names, only, limit, older_than, sees)

    def own_events(self, name: str | None, limit: int, only: Only, older_than: int | None = None) -> tuple[Event, ...]:
        """Return the newest events of this home's trail first, page by page; without those that came with copies.

        Args:
            older_than: the number of the last event of the page before.

        Raises:
            UnknownModel, UnknownVerb: there is no such name, or verb.
        """
        names = None if name is None else self._names(name)
        return trail.events(self._database, names, limit, only, older_than=older_than)

    def events_of(self, entry: Entry, limit: int) -> tuple[Event, ...]:
        """Return what happened to a version, here and where it was copied from, the newest first."""
        names = self._names(entry.name)
        references = [f"{name}:v{entry.version}" for name in names]
        own = trail.events(self._database, names, limit, Only(), references=references)
        return (*own, *self.copies.history(entry.name, entry.version))[:limit]

    def moves(self, name: str, alias: str, limit: int) -> tuple[Move, ...]:
        """Return where an alias of a model pointed, the newest move first.

        Raises:
            UnknownModel: there is no such name.
        """
        return tuple(islice(moves.moves(self._database, self._names(name), alias), limit))

    @property
    def copies(self) -> Copies:
        """What leaves for other homes, and comes from them."""
        from registry.catalog.copies import Copies

        return Copies(self._database, self._change)
