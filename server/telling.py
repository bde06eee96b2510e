"""What somebody is told who may not read every model: nothing of the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from registry.catalog.entry import Entry
from registry.catalog.lineage import Descent
from registry.catalog.parcel import Parcel
from registry.catalog.query import Query, Term
from registry.errors.catalog import FormerName, NameTaken, NeededBase, UnknownModel, UnknownVersion
from registry.errors.root import RegistryError, rebuild
from registry.errors.server import NotAllowed

from .access import Caller, Role


def told(error: RegistryError, caller: Caller, address: str) -> RegistryError:
    """Return an error without the models that a caller may not read.

    Args:
        address: of the server, in which a model or a version is said not to be. Only of a home that cannot be used is
            the folder told, since whoever runs the server looks there.
    """
    fields = error.fields()
    if isinstance(error, (UnknownModel, UnknownVersion)) and "home" in fields:
        error = rebuild(error.code, {**fields, "home": address})
    if caller.sees_all:
        return error
    if isinstance(error, (FormerName, NameTaken)) and not caller.may(Role.READ, str(fields["now"])):
        has = caller.role.name.lower()
        return NotAllowed("write", str(fields["name"]), caller.user or "nobody", has=has, models=caller.models)
    if type(error) is UnknownModel:
        return UnknownModel(str(fields["name"]), _readable(fields["near"], caller))
    if isinstance(error, NeededBase):
        seen = _readable(fields["adapters"], caller)
        hidden = len(fields["adapters"]) - len(seen)
        unseen = [f"{hidden} of models that this token is not for"] if hidden else []
        return NeededBase(str(fields["reference"]), [*seen, *unseen])
    return error


def entry_for(entry: Entry, caller: Caller) -> Entry:
    """Return an entry without a parent that a caller may not read."""
    if _may_know(entry.parent, caller):
        return entry
    return replace(entry, parent=None, parent_uid=None, parent_number=None, parent_record=None)


@dataclass(frozen=True)
class Readable:
    """A query as somebody asks it who may not read every model: of parents it sees those that its answer tells.

    The catalog compares what it knows; who may not read a parent's name could guess it by that, letter by letter.
    """

    query: Query
    caller: Caller

    @property
    def asked(self) -> Query:
        """What the catalog is asked: all but what it says of parents."""
        return replace(self.query, terms=tuple(term for term in self.query.terms if term not in self._parents))

    def keeps(self, model: str, parent: str | None) -> bool:
        """Whether a version that the catalog found is told, of a model and with a parent as they are called now."""
        if not self.caller.sees_all and not self.caller.may(Role.READ, model):
            return False
        told = parent if _may_know(parent, self.caller) else None
        names = () if told is None else (told, told.partition(":")[0])
        return all(term.value in names for term in self._parents)

    @property
    def _parents(self) -> tuple[Term, ...]:
        return () if self.caller.sees_all else tuple(term for term in self.query.terms if term.field == "parent")


def descent_for(descent: Descent, caller: Caller) -> Descent:
    """Return what a version was made from, of what a caller may read."""
    if _may_know(descent.parent, caller):
        return descent
    return descent._replace(parent=None, parent_uid=None, parent_number=None, parent_record=None)


def parcel_for(parcel: Parcel, entry: Entry, caller: Caller) -> Parcel:
    """Return what leaves of a version, without a parent that a caller may not read."""
    if _may_know(entry.parent, caller):
        return parcel
    return replace(parcel, parent=None, columns={**parcel.columns, "parent": None})


def _may_know(reference: str | None, caller: Caller) -> bool:
    return reference is None or caller.sees_all or caller.may(Role.READ, reference.partition(":")[0])


def _readable(references: Iterable[str], caller: Caller) -> list[str]:
    return [each for each in references if caller.may(Role.READ, str(each).partition(":")[0])]
