"""What may change of models and versions that are there: facts, aliases, names, the way through the trash."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from registry.catalog import aliases, cards, lookup, renaming, trail, trash, versions
from registry.catalog.access import Access
from registry.catalog.change import hold
from registry.catalog.entry import Entry
from registry.catalog.renaming import Renamed
from registry.catalog.trash import Trashed
from registry.catalog.version import check_apart, check_metrics, check_note, check_tags
from registry.reference import check_alias, check_model_name


class Amendments(Access):
    """Changes of what is there, each one transaction and with an event in the trail."""

    def add_facts(
        self,
        entry: Entry,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        note: str = "",
        remove_metrics: Collection[str] = (),
        remove_tags: Collection[str] = (),
        verb: str = "note",
    ) -> Entry:
        """Add metrics, tags and a note to a version, or take some away, and return it, with what was changed.

        Args:
            verb: of the event, which is written where anything is new.

        Raises:
            InvalidMetric, InvalidTag, InvalidFact, AbsentFact, ContradictoryChange
        """
        words, checked = check_tags(tags or {}), check_metrics(metrics or {})
        check_note(note)
        check_apart("metric", checked, remove_metrics)
        check_apart("tag", words, remove_tags)
        with self._change() as change:
            version = hold(change, entry)
            figures = {**checked, **dict.fromkeys(remove_metrics)}
            if details := versions.add_facts(change, version, figures, note, {**words, **dict.fromkeys(remove_tags)}):
                trail.append(change, verb, version, details)
        return replace(self._entry(version.id), notices=(*entry.notices, *versions.changed(version, details)))

    def set_alias(self, entry: Entry, alias: str) -> None:
        """Point an alias to a version, wherever it pointed before.

        Raises:
            InvalidAlias, TrashedVersion, PurgedVersion
        """
        check_alias(alias)
        with self._change() as change:
            aliases.point(change, hold(change, entry), alias)

    def drop_alias(self, name: str, alias: str) -> None:
        """Remove an alias.

        Raises:
            UnknownModel, UnknownVersion: there is none.
        """
        check_model_name(name)
        with self._change() as change:
            aliases.drop(change, lookup.current(change.connection, name), check_alias(alias))

    def set_card(self, name: str, text: str) -> None:
        """Give a model a card; an empty text takes it away.

        Raises:
            UnknownModel: there is no such name.
            InvalidFact: it is too long, or is no text.
        """
        check_model_name(name)
        cards.check_card(text)
        with self._change() as change:
            cards.set_card(change, lookup.current(change.connection, name), text)

    def roll_back(self, name: str, alias: str) -> Entry:
        """Point an alias to where it pointed before, and return that version.

        Raises:
            UnknownModel: there is no such name.
            CannotRollBack: it pointed nowhere else, or where it pointed is in the trash or gone.
        """
        with self._change() as change:
            version = aliases.roll_back(change, lookup.current(change.connection, name), alias)
        return self._entry(version.id)

    def rename(self, old: str, new: str) -> Renamed:
        """Give a model another name; it is found by the old one still.

        Raises:
            InvalidModelName, NamedLikeAFile, UnknownModel, FormerName, SameName, NameTaken
        """
        with self._change() as change:
            return renaming.rename(change, old, new)

    def trash(self, *entries: Entry, force: bool = False) -> Trashed:
        """Put versions into the trash, all or none, and return the bytes that no live one needs then, and the aliases.

        Args:
            force: also if aliases point there, which are dropped, or live adapters lose their base.

        Raises:
            AliasedVersion, NeededBase, TrashedVersion, PurgedVersion
        """
        with self._change() as change:
            held = [hold(change, entry) for entry in entries]
            dropped = {version.ref: trash.trash(change, version, force) for version in held}
            if not force:
                trash.check_bases(change, held)
            return Trashed(trash.freed(change, held), dropped)

    def restore(self, *entries: Entry) -> tuple[Entry, ...]:
        """Take versions out of the trash, all or none, and return them, with what there is to say of their aliases.

        Raises:
            NotInTrash, PurgedVersion
        """
        with self._change() as change:
            held = [hold(change, entry) for entry in entries]
            said = [trash.restore(change, version) for version in held]
        return tuple(
            replace(self._entry(version.id), notices=(*entry.notices, *notices))
            for entry, version, notices in zip(entries, held, said, strict=True)
        )
