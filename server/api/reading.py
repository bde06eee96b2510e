"""What is asked of the catalog."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from registry.catalog import transit
from registry.catalog.blobs import PLACES
from registry.catalog.grammar import parse as parse_query
from registry.catalog.record import DECISIVE
from registry.catalog.trail import Only
from registry.errors.requests import InvalidRequest
from registry.reference import check_model_name
from registry.tensors.spec import is_digest

from ..access import Role
from ..asking import Asking, answer, answer_list
from ..paging import MOST_ITEMS, found
from ..telling import descent_for, parcel_for
from .schemas import Entries, EntryDocument, Events, Models

router = APIRouter(tags=["reading"])

_READABLE = (*DECISIVE, "manifest", "build", PLACES)
"""Documents of a version; its history is told by the trail."""


@router.get("/entry", response_model=EntryDocument)
def entry(asking: Asking, ref: str, trashed: bool = False) -> Response:
    """Return the version that a reference names."""
    return asking.answer_entry(asking.entry(ref, trashed=trashed))


@router.get("/entries", response_model=Entries)
def entries(
    asking: Asking,
    query: str = "",
    trashed: bool = False,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = MOST_ITEMS,
    after: str | None = None,
) -> Response:
    """Return the versions that a query asks for, as ``registry list`` takes it, and the token of those that follow."""
    asked = parse_query(query)
    now = asked if asked.name is None else asked.of(asking.current(asked.name))
    return asking.answer_entries(*found(asking, now, asked, trashed, limit, after))


@router.get("/models", response_model=Models)
def models(asking: Asking, name: str | None = None) -> Response:
    """Return the models that have a live version: all, one, or those that fit a pattern."""
    if name is not None and "*" not in name:
        asking.current(name)
    return answer_list(each for each in asking.catalog.models(name) if asking.sees(each.name))


@router.get("/events", response_model=Events)
def events(
    asking: Asking,
    name: str | None = None,
    limit: Annotated[int | None, Query(ge=0)] = None,
    verb: str | None = None,
    by: str | None = None,
    after: str | None = None,
    before: str | None = None,
) -> Response:
    """Return the trail, the newest event first; times are ISO 8601 in UTC."""
    now = None if name is None else asking.current(name)
    most = limit if asking.sees_all or now is not None else None
    found = asking.catalog.events(now, most, Only(verb, by, after, before))
    return answer_list([each for each in found if now is not None or asking.sees_now(each.name)][:limit])


@router.get("/name")
def name_now(asking: Asking, name: str) -> JSONResponse:
    """Return what a model is called now."""
    return answer({"now": asking.current(name)})


@router.get("/standing")
def standing(asking: Asking, name: str) -> JSONResponse:
    """Return whether a model has a name, and the number of its next version."""
    if not asking.caller.may(Role.READ, check_model_name(name)):
        asking.caller.require(Role.WRITE, name)  # which is what the sender is about to do
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
def sources(asking: Asking) -> JSONResponse:
    """Return what versions were pushed from: name, number, digest of the source, tensors, and when it was trashed."""
    return answer_list(list(each) for each in asking.catalog.sources() if asking.sees(each.name))


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
def descents(asking: Asking) -> JSONResponse:
    """Return what every live version was made from, of those that say."""
    found = asking.catalog.lineage.descents()
    seen = (descent_for(each, asking.caller) for each in found if asking.sees(each.ref.rpartition(":")[0]))
    return answer_list(list(each) for each in seen)


@router.get("/lineage/run", response_model=Entries)
def of_run(asking: Asking, uid: str, run: str) -> Response:
    """Return the live versions of a model that a training run pushed first, the newest first."""
    return asking.answer_entries(asking.catalog.lineage.of_run(uid, run))


@router.get("/lineage/pushed")
def pushed(asking: Asking, ref: str) -> JSONResponse:
    """Return the training runs that pushed a version."""
    found: Any = asking.catalog.lineage.pushed_by(asking.entry(ref, trashed=True))
    return answer_list(sorted(found, key=str))
