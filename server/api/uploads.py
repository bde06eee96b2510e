"""Blobs that come in, piece by piece."""

from __future__ import annotations

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from registry.blobs.uploads import Upload, Uploads

from ..access import Role
from ..asking import Asked, Asking, answer, asked
from .blobs import is_sound
from .schemas import NewUpload, UploadState

router = APIRouter(tags=["uploads"])

_BATCH = 4 << 20
"""Bytes that go to the disk at a time."""


@router.post("/uploads", response_model=UploadState)
def begin(asking: Asking, new: NewUpload) -> JSONResponse:
    """Begin to send a blob; what is here already has been received as a whole."""
    asking.caller.require(Role.WRITE)
    may_be_there = bool(asking.visible([new.blob])) and is_sound(asking, new.blob)
    return _state(
        _uploads(asking).begin(new.blob, new.nbytes, new.tensors, asking.caller.user, may_be_there=may_be_there)
    )


@router.get("/uploads/{upload}", response_model=UploadState)
def state(asking: Asking, upload: str) -> JSONResponse:
    """Return how much has come, which is where to go on."""
    asking.caller.require(Role.WRITE)
    return _state(_uploads(asking).find(upload, asking.caller.user))


@router.put("/uploads/{upload}", response_model=UploadState, openapi_extra={"requestBody": {"content": {}}})
async def piece(request: Request, upload: str, at: int = Query(ge=0)) -> JSONResponse:
    """Take a piece, which begins where the last one ended. It counts when all of it has come and was checked."""
    asking = await run_in_threadpool(asked, request)
    asking.caller.require(Role.WRITE)
    uploads = _uploads(asking)
    found = await run_in_threadpool(uploads.find, upload, asking.caller.user)
    taking = uploads.piece(found, at)
    into = await run_in_threadpool(taking.__enter__)
    try:
        batch, held = memoryview(bytearray(_BATCH)), 0  # one for all, since fresh memory has to be cleared
        async for content in request.stream():
            if held + len(content) > _BATCH:
                await run_in_threadpool(into.write, batch[:held])
                held = 0
            if len(content) > _BATCH:
                await run_in_threadpool(into.write, memoryview(content))
                continue
            batch[held : held + len(content)] = content
            held += len(content)
        if held:
            await run_in_threadpool(into.write, batch[:held])
    except BaseException as error:
        taking.__exit__(type(error), error, error.__traceback__)
        raise
    await run_in_threadpool(taking.__exit__, None, None, None)
    return _state(await run_in_threadpool(uploads.find, upload, asking.caller.user))


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
