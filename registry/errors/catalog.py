"""Errors of the catalog: names, references, and the database that holds them."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.root import RegistryError, few


def quoted(text: object, most: int = 80) -> str:
    """Show what a user gave: in ASCII, control characters escaped, cut where it is long."""
    shown = ascii(text[: most + 1] if isinstance(text, str) else text)
    return shown if len(shown) <= most + 2 else f"{shown[:most]}…'"


class InvalidReference(RegistryError):
    """A text is not a reference."""

    def __init__(self, given: object, why: str, near: str = "") -> None:
        way = (
            f"did you mean {near}?"
            if near
            else ("write name, name:v3, name:alias, name:alias@2026-11-01 or name@digest-prefix")
        )
        super().__init__(f"{quoted(given)} is not a valid reference: {why}; {way}")


class InvalidModelName(RegistryError):
    """A text cannot be the name of a model."""

    def __init__(self, given: object, proposal: str) -> None:
        super().__init__(
            f"{quoted(given)} cannot be a model's name, which is MODEL or NAMESPACE/MODEL, at most 96 ASCII letters, "
            "digits, '.', '_' or '-', where each part begins and ends with none of '.' and '-' and repeats neither; "
            f"'{proposal}' would do"
        )
        self.proposal = proposal


class VersionAsName(InvalidModelName):
    """A reference to a version stands where the name of a model is asked for."""

    def __init__(self, given: str, name: str) -> None:
        RegistryError.__init__(
            self,
            f"{quoted(given)} refers to a version where the name of a model is asked for; give the name alone, "
            f"'{name}': the registry numbers the versions itself, and a push sets an alias with --alias",
        )
        self.proposal = name


class NamedLikeAFile(RegistryError):
    """A new model's name ends as the names of checkpoints do."""

    def __init__(self, given: str, proposal: str) -> None:
        super().__init__(
            f"{quoted(given)} names a file and not a model; push one file at a time, or name the model '{proposal}'"
        )
        self.proposal = proposal


class InvalidAlias(RegistryError):
    """A text cannot be an alias."""

    def __init__(self, given: object, why: str) -> None:
        super().__init__(f"{quoted(given)} cannot be an alias: {why}; choose a word such as 'best'")


class InvalidMetric(RegistryError):
    """A metric's key or value cannot be stored."""

    def __init__(self, key: object, why: str) -> None:
        super().__init__(f"the metric {quoted(key)} cannot be stored: {why}")


class InvalidTag(RegistryError):
    """A tag's key or value cannot be stored."""

    def __init__(self, key: object, why: str) -> None:
        super().__init__(f"the tag {quoted(key)} cannot be stored: {why}")


class InvalidFact(RegistryError):
    """Something that was said of a version cannot be stored."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"the {what} cannot be stored: {why}")


class FormerName(RegistryError):
    """A model is to be changed by a name that it had before."""

    def __init__(self, name: str, now: str) -> None:
        super().__init__(
            f"'{name}' is called '{now}' now, and nothing can be stored under the name it had; use '{now}'"
        )


ELSEWHERE = "--home or REGISTRY_HOME names another place"
"""What to do where a home is not the one that was meant."""


class NameTaken(RegistryError):
    """A model is to be given a name that another model has, or had."""

    def __init__(self, name: str, now: str) -> None:
        had = (
            "there is a model of that name"
            if name == now
            else f"the model '{now}' was called so, and is still found so"
        )
        super().__init__(f"nothing can be renamed to '{name}': {had}; choose another name")


class SameName(RegistryError):
    """A model is to be given the name that it has."""

    def __init__(self, name: str) -> None:
        super().__init__(f"'{name}' is called that already; give the name that it shall have")


class UnknownModel(RegistryError):
    """No model has that name."""

    def __init__(self, name: str, near: Sequence[str], home: str = "") -> None:
        where = f" in {home}" if home else ""
        hint = f"did you mean {' or '.join(near)}?" if near else f"`registry list` shows what there is, and {ELSEWHERE}"
        super().__init__(f"there is no model '{name}'{where}; {hint}")


class FileAsReference(UnknownModel):
    """No model has that name, which is that of a file."""

    def __init__(self, name: str, home: str) -> None:
        RegistryError.__init__(
            self,
            f"there is no model '{name}' in {home}; a file is pushed first (`registry push {name}`), or compared as "
            f"./{name} with `registry check`",
        )


class UnknownVersion(RegistryError):
    """The model has no such version, alias or digest."""

    def __init__(self, reference: str, what: str, near: Sequence[str], home: str = "") -> None:
        where = f" in {home}" if home else ""
        model = reference.partition(":")[0].partition("@")[0]
        hint = f"did you mean {' or '.join(near)}?" if near else f"`registry list {model}` shows what there is"
        super().__init__(f"'{reference}' names nothing{where}: {what}; {hint}")


class NothingThatDay(RegistryError):
    """An alias pointed nowhere at the end of the day that a reference names."""

    def __init__(self, reference: str, why: str, near: str) -> None:
        super().__init__(f"'{reference}' names nothing: {why}; did you mean {near}?")


class CannotRollBack(RegistryError):
    """An alias cannot be pointed to where it pointed before."""

    def __init__(self, reference: str, why: str) -> None:
        super().__init__(f"'{reference}' cannot be rolled back: {why}")


class AbsentFact(RegistryError):
    """A metric or a tag is to be removed from a version that does not have it."""

    def __init__(self, reference: str, kind: str, key: str, there: Sequence[str]) -> None:
        has = f"it has {few(there, 8)}" if there else "it has none"
        super().__init__(f"{reference} has no {kind} {quoted(key)} to remove; {has}")


class ContradictoryChange(RegistryError):
    """One metric or tag is to be set and to be removed."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"the {kind} {quoted(key)} is to be set and to be removed; say one of them")


class InvalidTime(RegistryError):
    """A text is neither a day nor a moment."""

    def __init__(self, given: object) -> None:
        super().__init__(
            f"{quoted(given)} is not a valid time; write a day such as 2026-11-01, or a moment such as "
            "2026-11-01T09:30:00+00:00, in UTC unless it says otherwise"
        )


class UnknownVerb(RegistryError):
    """The trail has no events of that kind."""

    def __init__(self, given: str, verbs: Sequence[str]) -> None:
        super().__init__(f"{quoted(given)} is not a verb of the trail; there are {', '.join(verbs)}")


class NeededBase(RegistryError):
    """The version that is to be removed is the only one that holds the base of live adapters."""

    def __init__(self, reference: str, adapters: Sequence[str]) -> None:
        named = " and ".join(adapters[:2]) if len(adapters) < 3 else f"{adapters[0]} and {len(adapters) - 1} more"
        needs = "needs" if len(adapters) == 1 else "need"
        super().__init__(
            f"{reference} is not removed because {named} {needs} it as base; remove the adapters first, "
            "or remove it with --force"
        )


class AmbiguousDigest(RegistryError):
    """A digest prefix fits several versions."""

    def __init__(self, reference: str, fitting: Sequence[str]) -> None:
        super().__init__(f"'{reference}' is ambiguous: it fits {', '.join(fitting)}; give more digits, or a version")


class TrashedVersion(RegistryError):
    """The version is in the trash."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"{reference} is in the trash; `registry restore {reference}` brings it back")


class PurgedVersion(RegistryError):
    """The version was deleted for good."""

    def __init__(self, reference: str, when: str) -> None:
        super().__init__(
            f"{reference} was removed and collected on {when}, and its weights are gone; push them again if you still "
            "have the file, which makes a new version"
        )


class NoLiveVersion(RegistryError):
    """Every version of the model is in the trash or gone."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"'{name}' has no version outside the trash; `registry list {name} --trash` shows what can be restored"
        )


class AliasedVersion(RegistryError):
    """An alias points to the version that is to be removed."""

    def __init__(self, reference: str, aliases: Sequence[str]) -> None:
        super().__init__(
            f"{reference} is not removed because {', '.join(repr(alias) for alias in aliases)} "
            f"{'points' if len(aliases) == 1 else 'point'} to it; move the alias to another version, or drop it with "
            "--force"
        )


class NameIsNoVersion(RegistryError):
    """What is to be removed is named as a model where a version is asked for, or the other way around."""

    def __init__(self, given: str, all_versions: bool) -> None:
        super().__init__(
            f"'{given}' names one version, and --all-versions (all_versions=True) removes all of a model; leave it "
            "out, or give the model's name alone"
            if all_versions
            else f"'{given}' names a model and not which of its versions to remove; write {given}:v3 for one, or give "
            "--all-versions (all_versions=True) for all of them"
        )


class NotInTrash(RegistryError):
    """The version is to be restored and is not in the trash."""

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"{reference} is not in the trash and needs no restore; `registry list --trash` shows what is there"
        )


class ChangedVersion(RegistryError):
    """The database's row of a version is not the one that was read before."""

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"{reference} is not what it was when it was looked up; run `registry audit {reference}`, then try again"
        )


class DatabaseBusy(RegistryError):
    """Another process held the database for too long."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__(
            f"another process keeps {path} locked, and waiting up to {seconds:g} s did not help; see what is running "
            "there, then try again"
        )


class DatabaseChanged(RegistryError):
    """The database of a home that this user may only read was changed while it was read."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} was changed by somebody while it was read; try again")


class DatabaseFull(RegistryError):
    """There is no room for the database to grow."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} cannot be written to the disk: it is full, or a quota or a limit on file sizes is reached, or it "
            "is failing; nothing was changed; free some space there and try again (`registry gc` empties the trash, "
            "and needs some to begin)"
        )


class HomeReadOnly(RegistryError):
    """The home can be read but not written."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} cannot be written by this user; ask its owner for write access, or choose another home with "
            "--home or REGISTRY_HOME"
        )


class HomeUnusable(RegistryError):
    """The home can be neither made nor read."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"{path} cannot be used as a registry: {why}; choose another home with --home or REGISTRY_HOME"
        )


class DatabaseDamaged(RegistryError):
    """The database's file is damaged, or is something else."""

    def __init__(self, path: str, why: str, backups: str) -> None:
        super().__init__(
            f"{path} is damaged or is not a SQLite database ({why}); restore a backup from {backups}, or start an "
            "empty registry in another home"
        )


class NotARegistry(RegistryError):
    """The database belongs to another program."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is a database of another program, so it is left alone; choose another home with --home or "
            "REGISTRY_HOME"
        )


class NewerDatabase(RegistryError):
    """The database was written by a newer program."""

    def __init__(self, path: str, revision: str, head: str) -> None:
        super().__init__(
            f"{path} is at revision {quoted(revision)}, which this program (at {head}) does not know: a newer one "
            "wrote it; upgrade with `pip install -U checkpoint-registry`"
        )


class OlderDatabase(RegistryError):
    """The database needs a migration that cannot be done here."""

    def __init__(self, path: str, revision: str, head: str) -> None:
        super().__init__(
            f"{path} is at revision {revision} and this program needs {head}, but the home cannot be written; run "
            "`registry db upgrade` as its owner"
        )
