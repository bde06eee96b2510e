"""What changes of versions and models that are here."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from registry.reference import check_model_name

from ..access import Role
from ..asking import Asking, answer
from .schemas import Alias, AliasOf, Card, Entries, EntryDocument, Facts, Rename, RenamedDocument, Restore, Trash

router = APIRouter(tags=["changing"])


@router.post("/facts", response_model=EntryDocument)
def facts(asking: Asking, given: Facts) -> Response:
    """Add metrics, tags and a note to a version, or take some away."""
    entry = asking.seen(given.version.ref, given.version.uid, given.version.digest, Role.WRITE)
    return asking.answer_entry(
        asking.catalog.add_facts(
            entry,
            metrics=given.metrics,
            tags=given.tags,
            note=given.note,
            remove_metrics=given.remove_metrics,
            remove_tags=given.remove_tags,
            verb=given.verb if given.verb in ("tag", "annotate") else "note",
        )
    )


@router.put("/alias")
def set_alias(asking: Asking, given: Alias) -> JSONResponse:
    """Point an alias to a version, wherever it pointed before."""
    entry = asking.seen(given.version.ref, given.version.uid, given.version.digest, Role.WRITE)
    asking.catalog.set_alias(entry, given.alias)
    return answer(None)


@router.delete("/alias")
def drop_alias(asking: Asking, name: str, alias: str) -> JSONResponse:
    """Remove an alias."""
    now = asking.current(name, Role.WRITE)
    asking.catalog.drop_alias(now, alias)
    return answer(None)


@router.post("/rollback", response_model=EntryDocument)
def roll_back(asking: Asking, given: AliasOf) -> Response:
    """Point an alias to where it pointed before."""
    now = asking.current(given.name, Role.WRITE)
    return asking.answer_entry(asking.catalog.roll_back(now, given.alias))


@router.put("/card")
def set_card(asking: Asking, given: Card) -> JSONResponse:
    """Give a model a card; an empty text takes it away."""
    now = asking.current(given.name, Role.WRITE)
    asking.catalog.set_card(now, given.text)
    return answer(None)


@router.post("/rename", response_model=RenamedDocument)
def rename(asking: Asking, given: Rename) -> JSONResponse:
    """Give a model another name."""
    asking.current(given.old, Role.ADMIN)
    asking.caller.require(Role.ADMIN, check_model_name(given.new))
    return answer(asking.catalog.rename(given.old, given.new))


@router.post("/trash")
def trash(asking: Asking, given: Trash) -> JSONResponse:
    """Put versions into the trash, all or none."""
    entries = [asking.seen(each.ref, each.uid, each.digest, Role.ADMIN) for each in given.versions]
    return answer(asking.catalog.trash(*entries, force=given.force))


@router.post("/restore", response_model=Entries)
def restore(asking: Asking, given: Restore) -> Response:
    """Take versions out of the trash, all or none."""
    entries = [asking.seen(each.ref, each.uid, each.digest, Role.ADMIN) for each in given.versions]
    return asking.answer_entries(asking.catalog.restore(*entries))
