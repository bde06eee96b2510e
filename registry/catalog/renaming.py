"""Another name for a model: it stays what it is, and is found by the names that it had."""

from __future__ import annotations

from dataclasses import dataclass

from registry.catalog import lookup, name_statements, statements, trail
from registry.catalog.change import Change
from registry.errors.catalog import FormerName, NameTaken, SameName
from registry.reference import check_model_name, check_new_model_name


@dataclass(frozen=True)
class Renamed:
    """A model that was given another name."""

    name: str
    """The one that it has now."""
    was: str
    uid: str
    """What it is, which no name changes."""
    former_names: tuple[str, ...]
    """All by which it is found still."""


def rename(change: Change, old: str, new: str) -> Renamed:
    """Give a model another name, or one that it had before. Seals and earlier events stay as they are.

    Raises:
        InvalidModelName, NamedLikeAFile: no new model may be called so.
        UnknownModel, FormerName, SameName, NameTaken
    """
    connection = change.connection
    model = connection.row(statements.MODEL, name=check_model_name(old))
    if model is None:
        refuse_former(change, old)
        lookup.refuse_unknown(connection, old)
    if old == check_model_name(new):
        raise SameName(old)
    had = connection.row(name_statements.RENAMED, former=new)
    if had is None:
        check_new_model_name(new)
    if had is not None and had.id != model.id:
        raise NameTaken(new, had.name)
    if connection.row(statements.MODEL, name=new) is not None:
        raise NameTaken(new, new)
    connection.run(statements.CHANGE_MODEL, model=model.id, name=new)
    connection.run(name_statements.DROP_FORMER_NAME, former=new)
    connection.run(name_statements.ADD_FORMER_NAME, name=old, model_id=model.id)
    trail.append(change, "rename", details={"was": old}, name=new)
    return Renamed(new, old, model.uid, lookup.names(connection, new)[1:])


def refuse_former(change: Change, name: str) -> None:
    """Refuse a name that a model had before.

    Raises:
        FormerName
    """
    model = change.connection.row(name_statements.RENAMED, former=name)
    if model is not None:
        raise FormerName(name, model.name)
