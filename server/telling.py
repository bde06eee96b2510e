"""What somebody is told who may not read every model: nothing of the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from registry.catalog.entry import Entry
from registry.catalog.lineage import Descent
from registry.catalog.parcel import Parcel
from registry.errors.catalog import FormerName, NameTaken, NeededBase, UnknownModel
from registry.errors.root import RegistryError
from registry.errors.server import NotAllowed

from .access import Caller, Role


def told(error: RegistryError, caller: Caller) -> RegistryError:
    """Return an error without the models in it that a caller may not read."""
    if caller.sees_all:
        return error
    fields = error.fields()
    if isinstance(error, (FormerName, NameTaken)) and not caller.may(Role.READ, str(fields["now"])):
        return NotAllowed("write", str(fields["name"]), caller.user or "nobody")
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
