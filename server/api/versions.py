"""New versions."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from ..access import Role
from ..asking import Asking
from .claims import Claim, collected, new_version
from .schemas import EntryDocument, NewVersion

router = APIRouter(tags=["versions"])

Key = Annotated[str | None, Header(min_length=8, max_length=64, pattern="^[A-Za-z0-9_-]+$")]


@router.post("/versions", response_model=EntryDocument)
def add(asking: Asking, given: NewVersion, idempotency_key: Key = None) -> Response:
    """Store a version whose bytes are here. With an ``Idempotency-Key`` a second request answers with what it made."""
    asking.caller.require(Role.WRITE, given.name)
    new, manifest, beside = new_version(asking, given)
    claim = Claim(asking, given.new_blobs, given.uploads)
    asking.catalog.knows(new.name)  # refuses a former name before anything is read
    new_blobs = claim.prove((manifest, *beside))
    key = None if idempotency_key is None else f"{idempotency_key}.{_digest(given)}"
    with collected(), asking.catalog.write_lock():
        entry = asking.catalog.made_by(new.name, key) if key is not None else None
        if entry is None:
            entry = asking.catalog.add_version(
                new,
                manifest,
                new_blobs,
                beside=beside,
                force_new=given.force_new,
                tells_again=given.tells_again,
                key=key,
                confirm=partial(claim.confirm, new_blobs),
            )
    claim.settle()
    return asking.answer_entry(entry)


def _digest(given: NewVersion) -> str:
    """Return what stands for a request, however its bytes came here."""
    said = given.model_dump_json(exclude={"new_blobs", "uploads"})
    return hashlib.sha256(said.encode()).hexdigest()[:32]
