"""The bytes: which of them are here, and they themselves, in parts."""

from __future__ import annotations

import contextlib
from pathlib import Path

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse, JSONResponse
from starlette.types import Receive, Scope, Send

from registry.blobs.files import is_file, opened
from registry.blobs.verification import is_unchanged
from registry.errors.blobs import AbsentBlob
from registry.errors.requests import InvalidRequest
from registry.errors.root import RegistryError
from registry.tensors.spec import is_digest

from ..access import Role
from ..asking import Asked, Asking, answer
from ..sending import can_send_files, requested_range, send_part
from .schemas import Digests

router = APIRouter(tags=["bytes"])


class BlobAnswer(FileResponse):
    """A file, in the memory of one piece, as a whole or in the parts that are asked for.

    What is asked as our client does, the connection reads and sends by itself.
    """

    chunk_size = 1 << 20

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        part = self._part(scope) if can_send_files(scope) else None
        if part is None:
            await super().__call__(scope, receive, send)
            return
        begin, end = part
        headers = MutableHeaders(raw=list(self.raw_headers))
        headers["content-range"] = f"bytes {begin}-{end - 1}/{headers['content-length']}"
        headers["content-length"] = str(end - begin)
        path = Path(self.path)
        with contextlib.ExitStack() as stack:
            handle, _ = await run_in_threadpool(stack.enter_context, opened(path, path.stem))
            await send({"type": "http.response.start", "status": 206, "headers": headers.raw})
            await send_part(send, handle, begin, end - begin)
            await send({"type": "http.response.body", "body": b""})

    def _part(self, scope: Scope) -> tuple[int, int] | None:
        """Return the one range that is asked for; None where something else is."""
        asked = Headers(scope=scope)
        if scope["method"] != "GET" or "if-range" in asked or self.stat_result is None:
            return None
        try:
            return requested_range(asked.get("range"), self.stat_result.st_size)
        except ValueError:
            return None


@router.api_route("/blobs/{digest}", methods=["GET", "HEAD"], response_class=BlobAnswer)
def blob(asking: Asking, digest: str) -> BlobAnswer:
    """Return a blob, a safetensors file; it takes ``Range``."""
    if not is_digest(digest):
        raise InvalidRequest("a digest is 64 hexadecimal digits in lower case")
    path = asking.store.places.blob(digest)
    if not asking.visible([digest]) or not is_file(path):
        raise AbsentBlob(digest)
    headers = {"ETag": f'"{digest}"', "Cache-Control": "private, max-age=31536000, immutable"}
    return BlobAnswer(path, headers=headers, media_type="application/octet-stream", stat_result=path.lstat())


@router.post("/blobs/there")
def there(asking: Asking, wanted: Digests) -> JSONResponse:
    """Return those blobs that are here."""
    found = asking.visible(filter(is_digest, wanted.digests))
    return answer({"there": sorted(blob for blob in found if asking.store.is_in_place(blob))})


@router.post("/tensors/locate")
def locate(asking: Asking, wanted: Digests) -> JSONResponse:
    """Return where those tensors are that a push may share: blob and offset, by digest."""
    located = asking.catalog.locate(filter(is_digest, wanted.digests))
    sound = sound_blobs(asking, asking.visible({location.blob for location in located.values()}))
    return answer({"places": {digest: [at.blob, at.offset] for digest, at in located.items() if at.blob in sound}})


def sound_blobs(asking: Asked, blobs: set[str]) -> set[str]:
    """Return those blobs that are what they were; of the others no later push shares a tensor."""
    found = {blob for blob in blobs if is_sound(asking, blob)}
    if blobs - found and asking.caller.may(Role.WRITE):
        asking.catalog.distrust_blobs(blobs - found)
    return found


def is_sound(asking: Asked, blob: str) -> bool:
    """Whether a blob is as its stamp says, or, where nobody knows, as its bytes say."""
    try:
        with opened(asking.store.places.blob(blob), blob) as (_, status):
            if is_unchanged(asking.store.places, blob, status):
                return True
    except RegistryError:
        return False
    return asking.store.examine_blob(blob, {}).fault is None
