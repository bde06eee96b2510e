"""Blobs that come in, piece by piece."""

from __future__ import annotations

import base64
import contextlib

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse

from registry.blobs.uploads import Piece, Upload, Uploads

from ..access import Role
from ..asking import Asked, Asking, answer
from ..receiving import in_thread, write_body
from .blobs import is_sound
from .claims import reading
from .schemas import NewUpload, UploadState

router = APIRouter(tags=["uploads"])


@router.post("/uploads", response_model=UploadState)
def begin(asking: Asking, new: NewUpload) -> JSONResponse:
    """Begin to send a blob; what is here already has been received as a whole."""
    asking.caller.require(Role.WRITE)
    may_be_there = bool(asking.visible([new.blob])) and is_sound(asking, new.blob)
    with reading():
        content = base64.b64decode(new.content, validate=True)
    uploads, user = _uploads(asking), asking.caller.user
    upload = uploads.begin(new.blob, new.nbytes, new.tensors, user, may_be_there=may_be_there)
    if content and not upload.is_whole:
        with uploads.piece(upload, 0) as into:
            into.write(memoryview(content))
        upload = uploads.find(upload.id, user)
    return _state(upload)


@router.get("/uploads/{upload}", response_model=UploadState)
def state(asking: Asking, upload: str) -> JSONResponse:
    """Return how much has come, which is where to go on."""
    asking.caller.require(Role.WRITE)
    return _state(_uploads(asking).find(upload, asking.caller.user))


@router.put("/uploads/{upload}", response_model=UploadState, openapi_extra={"requestBody": {"content": {}}})
async def piece(request: Request, asking: Asking, upload: str, at: int = Query(ge=0)) -> JSONResponse:
    """Take a piece, which begins where the last one ended. It counts when all of it has come and was checked."""
    asking.caller.require(Role.WRITE)
    uploads, user = _uploads(asking), asking.caller.user
    announced = request.headers.get("content-length", "")
    nbytes = int(announced) if announced.isdecimal() else None
    taking = contextlib.ExitStack()

    def begin() -> Piece:
        return taking.enter_context(uploads.piece(uploads.find(upload, user), at, nbytes))

    def end(into: Piece, rest: memoryview) -> Upload:
        into.write(rest)
        taking.close()
        return uploads.find(upload, user)

    try:
        into = await in_thread(begin)
        return _state(await in_thread(end, into, await write_body(request, into.write)))
    except BaseException as error:
        taking.__exit__(type(error), error, error.__traceback__)
        raise


@router.delete("/uploads/{upload}")
def give_up(asking: Asking, upload: str) -> JSONResponse:
    """Give up an upload; what has come is gone, unless it is a blob by now."""
    asking.caller.require(Role.WRITE)
    uploads = _uploads(asking)
    uploads.end(uploads.find(upload, asking.caller.user))
    return answer(None)


def _uploads(asking: Asked) -> Uploads:
    return Uploads(asking.store)


def _state(upload: Upload) -> JSONResponse:
    return answer({"id": upload.id, "received": upload.received})
