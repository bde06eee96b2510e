"""What is asked of the catalog."""

from __future__ import annotations

import base64
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from registry.catalog import transit
from registry.catalog.blobs import PLACES
from registry.catalog.grammar import parse as parse_query
from registry.catalog.lineage import Descent
from registry.catalog.listing import ModelSummary, fitting
from registry.catalog.record import DECISIVE
from registry.catalog.trail import Only
from registry.errors.requests import InvalidRequest
from registry.reference import check_model_name
from registry.tensors.spec import is_digest

from ..access import Role
from ..asking import Asking, answer, answer_list
from ..paging import MOST_ITEMS, found, older_than, stretch, token_of
from ..telling import descent_for, parcel_for
from .schemas import Entries, EntryDocument, Events, Models

router = APIRouter(tags=["reading"])

_READABLE = (*DECISIVE, "manifest", "build", PLACES)
"""Documents of a version; its history is told by the trail."""

Limit = Annotated[int, Query(ge=1, le=MOST_ITEMS)]


@router.get("/entry", response_model=EntryDocument)
def entry(asking: Asking, ref: str, trashed: bool = False) -> Response:
    """Return the version that a reference names."""
    return asking.answer_entry(asking.entry(ref, trashed=trashed))


@router.get("/entries", response_model=Entries)
def entries(
    asking: Asking,
    query: str = "",
    trashed: bool = False,
    limit: Limit = MOST_ITEMS,
    after: str | None = None,
) -> Response:
    """Return the versions that a query asks for, as ``registry list`` takes it, and the token of those that follow."""
    asked = parse_query(query)
    now = asked if asked.name is None else asked.of(asking.current(asked.name))
    return asking.answer_entries(*found(asking, now, asked, trashed, limit, after))


@router.get("/models", response_model=Models)
def models(asking: Asking, name: str | None = None, limit: Limit = MOST_ITEMS, after: str | None = None) -> Response:
    """Return the models that have a live version: all, one, or those that fit a pattern."""
    if name is not None and "*" not in name:
        asking.current(name)
        return answer_list(each for each in asking.catalog.models(name) if asking.sees(each.name))
    fits, ask = fitting(name or "*"), asking.catalog.stretches.models_after

    def sees(model: ModelSummary) -> bool:
        return fits(model.name) and asking.sees(model.name)

    return answer_list(*stretch(asking, f"models {name}", ask, sees, limit, after, ""))


@router.get("/events", response_model=Events)
def events(
    asking: Asking,
    name: str | None = None,
    limit: Limit = MOST_ITEMS,
    verb: str | None = None,
    by: str | None = None,
    after: str | None = None,
    before: str | None = None,
    older: str | None = None,
) -> Response:
    """Return a page of the trail, the newest event first; times are ISO 8601 in UTC.

    Its ``next`` goes back as ``older``. The history of a copied version is in the page of its copy.
    """
    now = None if name is None else asking.current(name)
    what = f"events {name} {verb} {by} {after} {before}"

    def sees(model: str | None) -> bool:
        return now is not None or asking.sees_now(model)

    only = Only(verb, by, after, before)
    found, number = asking.catalog.events_before(now, only, limit, older_than(older, what), sees)
    return answer_list(found, token_of(number, what))


@router.get("/name")
def name_now(asking: Asking, name: str) -> JSONResponse:
    """Return what a model is called now."""
    return answer({"now": asking.current(name)})


@router.get("/standing")
def standing(asking: Asking, name: str, to_add: bool = False) -> JSONResponse:
    """Return whether a model has a name, and the number of its next version; with ``to_add`` to who may add one."""
    if to_add or not asking.caller.may(Role.READ, check_model_name(name)):
        asking.caller.require(Role.WRITE, name)  # before anything is sent
    is_known = asking.catalog.knows(name)
    return answer({"is_known": is_known, "next_number": asking.catalog.next_number(name)})


@router.get("/card")
def card(asking: Asking, name: str) -> JSONResponse:
    """Return a model's card."""
    return answer({"text": asking.catalog.card(asking.current(name))})


@router.get("/weights", response_model=EntryDocument | None)
def weights(asking: Asking, digest: str) -> Response:
    """Return the newest live version of whatever name that has weights of this digest, or null."""
    if not is_digest(digest):
        return asking.answer_entry(None)
    query = parse_query(f"digest:{digest}")
    newest, _ = found(asking, query, query, False, 1, None)
    return asking.answer_entry(newest[0] if newest else None)


@router.get("/sources")
def sources(asking: Asking, limit: Limit = MOST_ITEMS, after: str | None = None) -> JSONResponse:
    """Return what versions were pushed from: name, number, digest of the source, tensors, and when it was trashed."""
    ask = asking.catalog.stretches.sources_after
    found, following = stretch(asking, "sources", ask, lambda each: asking.sees(each.name), limit, after, 0)
    return answer_list(map(list, found), following)


@router.get("/manifest")
def manifest(asking: Asking, ref: str, uid: str) -> JSONResponse:
    """Return where a version's tensors are, and the documents that belong to what it is, in base 64."""
    entry = asking.seen(ref, uid, None, Role.READ)
    found, documents = asking.catalog.manifest_and_documents(entry)
    bodies = {kind: base64.b64encode(body).decode() for kind, body in documents.items()}
    return JSONResponse({"manifest": found.to_json(), "documents": bodies})


@router.get("/document")
def document(asking: Asking, ref: str, uid: str, kind: str) -> JSONResponse:
    """Return one document of a version, in base 64, or null."""
    if kind not in _READABLE:
        raise InvalidRequest(f"a document is one of {', '.join(_READABLE)}")
    body = asking.catalog.document(asking.seen(ref, uid, None, Role.READ), kind)
    return answer({"body": None if body is None else base64.b64encode(body).decode()})


@router.get("/parcel")
def parcel(asking: Asking, ref: str, place: str) -> Response:
    """Return all that is known of a version, as a bundle has it."""
    entry = asking.entry(ref, trashed=True)
    asking.service.home.manifest(entry)  # which compares the row with its digests
    found = parcel_for(asking.catalog.copies.parcel(entry, place), entry, asking.caller)
    return Response(transit.write(found, {}), media_type="application/json")


@router.get("/lineage/parent", response_model=EntryDocument | None)
def parent(asking: Asking, ref: str) -> Response:
    """Return the version that one was trained from, or null."""
    found = asking.catalog.lineage.parent(asking.entry(ref, trashed=True))
    return asking.answer_entry(found if found is not None and asking.sees(found.name) else None)


@router.get("/lineage/descents")
def descents(asking: Asking, limit: Limit = MOST_ITEMS, after: str | None = None) -> JSONResponse:
    """Return what every live version was made from, of those that say."""

    def sees(descent: Descent) -> bool:
        return asking.sees(descent.ref.rpartition(":")[0])

    found, following = stretch(asking, "descents", asking.catalog.stretches.descents_after, sees, limit, after, 0)
    return answer_list((list(descent_for(each, asking.caller)) for each in found), following)


@router.get("/lineage/run", response_model=Entries)
def of_run(asking: Asking, uid: str, run: str, limit: Limit = MOST_ITEMS, after: str | None = None) -> Response:
    """Return the live versions of a model that a training run pushed first, the newest first."""
    ask = partial(asking.catalog.stretches.of_run_before, uid, run)
    what = f"run {run} of {uid}"
    return asking.answer_entries(*stretch(asking, what, ask, lambda each: asking.sees(each.name), limit, after, 2**62))


@router.get("/lineage/pushed")
def pushed(asking: Asking, ref: str) -> JSONResponse:
    """Return the training runs that pushed a version."""
    found: Any = asking.catalog.lineage.pushed_by(asking.entry(ref, trashed=True))
    return answer_list(sorted(found, key=str))
