"""Versions that come from other homes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter
from starlette.responses import JSONResponse

from registry.catalog.arrivals import Whereabouts
from registry.catalog.facts import Identity
from registry.errors.client import FalseClaim
from registry.reference import check_new_model_name
from registry.tensors.manifest import Location, Manifest
from registry.tensors.spec import is_digest

from ..access import Role
from ..asking import Asking, answer
from .claims import Claim, collected, parcel_of
from .schemas import Arrival, ArrivedDocument, Meeting, ParcelAt

router = APIRouter(tags=["copies"])


@router.get("/copies/here")
def here(asking: Asking, uid: str, number: int, record: str) -> JSONResponse:
    """Return whether a version is here, wherever it came from; of a model that the caller may not read, it is not."""
    name = asking.catalog.copies.called(Identity(uid, number, record))
    return answer({"is_here": name is not None and asking.sees(name)})


@router.post("/copies/standing")
def standing(asking: Asking, given: ParcelAt) -> JSONResponse:
    """Return what a version would be called here, and the next number of that name."""
    parcel = parcel_of(given.parcel)
    name, number, is_other = asking.catalog.copies.standing(parcel, given.name)
    asking.caller.require(Role.READ, name, asked=given.name or parcel.name)
    return answer({"name": name, "next_number": number, "is_other_model": is_other})


@router.post("/copies/meet", response_model=ArrivedDocument | None)
def meet(asking: Asking, given: Meeting) -> JSONResponse:
    """Add to a version that is here what a brought one knows besides; null if it is not here."""
    parcel = parcel_of(given.parcel)
    met = asking.catalog.copies.meet(parcel, given.place, update=given.update, dry_run=True)
    if met is None:
        return answer(None)
    asking.caller.require(Role.READ if given.dry_run else Role.WRITE, met.name, asked=parcel.name)
    if not given.dry_run:
        with collected():
            met = asking.catalog.copies.meet(parcel, given.place, update=given.update)
    return answer(met)


@router.post("/copies", response_model=ArrivedDocument)
def take_in(asking: Asking, given: Arrival) -> JSONResponse:
    """Store a version of another home, whose bytes are here."""
    parcel = parcel_of(given.parcel)
    if given.name is not None:
        check_new_model_name(given.name)
    name = asking.catalog.copies.standing(parcel, given.name)[0]
    asking.caller.require(Role.WRITE, name, asked=given.name or parcel.name)
    places = {digest: _place(at) for digest, at in given.places.items()}

    def moved(manifest: Manifest) -> Manifest:
        if any(stored.digest not in places for stored in manifest.tensors.values()):
            raise FalseClaim("a tensor has no place here")
        return manifest.relocated(places)

    manifest = moved(parcel.manifest)
    beside = {kind: moved(document) for kind, document in parcel.attached.items()}
    claim = Claim(asking, given.new_blobs, given.uploads)
    new_blobs = claim.prove((manifest, *beside.values()))
    with collected():
        arrived = asking.catalog.copies.take_in(
            parcel,
            given.place,
            Whereabouts(manifest, beside, new_blobs),
            name=given.name,
            update=given.update,
            confirm=partial(claim.confirm, new_blobs),
        )
    claim.settle()
    return answer(arrived)


def _place(at: Sequence[object]) -> Location:
    """Read where a tensor is.

    Raises:
        FalseClaim: it can be nowhere.
    """
    match at:
        case [str(blob), int(offset)] if is_digest(blob) and 0 <= offset < 1 << 62:
            return Location(blob, offset)
    raise FalseClaim("a tensor lies in no file")
