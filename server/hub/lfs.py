"""Uploads by git's protocol for large files: where to send what, and what comes there."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from registry.tensors.spec import is_digest

from ..receiving import in_thread, write_body
from .answers import Json, Refusal
from .base import Base
from .hub import Asked, Hub
from .routes import Call
from .signing import Grant
from .staging import Finished, Incoming

MEDIA_TYPE = "application/vnd.git-lfs+json"
PART_BYTES = 64 << 20
"""Bytes of an object from which on it comes in parts, and of each but the last."""
LARGEST = 1 << 42
_MOST_OBJECTS = 1000
_SPENT = "what this address was for has been uploaded; start the upload again"

_log = logging.getLogger("registry.server.hub")


def batch(hub: Hub, call: Call, asked: Asked) -> Response:
    """Answer, for each object, where to send it; or that it is there."""
    name = hub.writable(call.name, asked.caller).name
    body = asked.json()
    if body.get("operation") != "upload":
        raise Refusal(400, "only uploads go this way; files are downloaded from /resolve/")
    objects = body.get("objects")
    if not isinstance(objects, list) or len(objects) > _MOST_OBJECTS:
        raise Refusal(400, f"the batch is not a list of at most {_MOST_OBJECTS} objects")
    transfers = body.get("transfers", ["basic"])
    in_parts = isinstance(transfers, list) and "multipart" in transfers
    hub.sweep()
    there = {file.sha256: file.size for file in Base(hub, name).files.values() if file.sha256 is not None}
    answers = [_actions(hub, name, asked, each, in_parts, there) for each in objects]
    chosen = "multipart" if any("header" in a.get("actions", {}).get("upload", {}) for a in answers) else "basic"
    return Json({"transfer": chosen, "objects": answers}, media_type=MEDIA_TYPE)


def _actions(
    hub: Hub, name: str, asked: Asked, wanted: Any, in_parts: bool, there: Mapping[str, int]
) -> dict[str, Any]:
    oid, size = (wanted.get("oid"), wanted.get("size")) if isinstance(wanted, dict) else (None, None)
    if not is_digest(oid) or type(size) is not int or not 0 <= size <= LARGEST:
        raise Refusal(400, "an object of the batch is not a SHA-256 of 64 hexadecimal digits and a size in bytes")
    assert isinstance(oid, str)
    if hub.staging.has(name, oid, size) or there.get(oid) == size:
        return {"oid": oid, "size": size}
    grant = Grant("put", oid, size, name, asked.caller.user or "", uuid.uuid4().hex)

    def address(of: Grant) -> str:
        return hub.signer.address(asked.base, of)

    upload: dict[str, Any] = {"href": address(grant)}
    if in_parts and size > PART_BYTES:
        begins = range(0, size, PART_BYTES)
        urls = [address(grant.for_("part", begin, min(PART_BYTES, size - begin))) for begin in begins]
        parts = {f"{number:05}": url for number, url in enumerate(urls, 1)}
        upload = {"href": address(grant.for_("complete")), "header": {"chunk_size": str(PART_BYTES), **parts}}
    return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": {"href": address(grant.for_("verify"))}}}


async def receive(hub: Hub, call: Call, request: Request) -> Response:
    """Take in what comes to one of the addresses that ``batch`` gave out."""
    try:
        answer = await _receive(hub, call, request)
    except Refusal:
        await _drain(request, PART_BYTES)
        raise
    await _drain(request, LARGEST)
    return answer


async def _drain(request: Request, left: int) -> None:
    """Read what is still being sent: a client that cannot finish does not read the answer."""
    with contextlib.suppress(ClientDisconnect, RuntimeError):  # it was read to its end
        async for chunk in request.stream():
            left -= len(chunk)
            if left < 0:
                return


async def _receive(hub: Hub, call: Call, request: Request) -> Response:
    grant = hub.signer.read(call.path, dict(request.query_params))
    if grant is None or (request.method == "PUT") != (grant.action in ("put", "part")):
        raise Refusal(403, "this address was not given out here, or its time is over; start the upload again")
    if hub.staging.has(grant.model, grant.oid, grant.size):
        return _received(grant.oid)  # again, since the answer was lost
    if hub.staging.is_spent(grant.upload):
        raise Refusal(409, _SPENT)
    if grant.action == "verify":
        raise Refusal(404, f"{grant.oid} was not uploaded; start the upload again")
    if grant.action == "complete":
        return await in_thread(_complete, hub, grant)
    length = grant.length if grant.action == "part" else grant.size
    announced = request.headers.get("content-length")
    if announced is not None and announced != str(length):
        raise Refusal(400, f"{announced[:20]} bytes were announced, and this address takes {length}")
    name = f"{grant.oid}-{grant.upload}" if grant.action == "part" else None
    incoming = await in_thread(hub.staging.begin, name)
    try:
        if grant.action == "part":
            await _take(request, length, lambda piece, at: incoming.place(piece, grant.offset + at))
            await in_thread(incoming.sync)
        else:
            await _take(request, length, lambda piece, at: incoming.write(piece))
            await in_thread(_finish, hub, incoming, grant)
    except Finished:
        raise Refusal(409, _SPENT) from None
    finally:
        await in_thread(incoming.close)
    return _received(f"{grant.oid}-{grant.offset}")


async def _take(request: Request, length: int, write: Callable[[memoryview, int], None]) -> None:
    """Write what comes, beside what else the server does.

    Raises:
        Refusal: it is more or less than was announced.
    """
    written = 0

    def write_behind(piece: memoryview) -> None:
        nonlocal written
        if written + len(piece) > length:
            raise Refusal(400, f"more than the {length} bytes came that this address takes")
        write(piece, written)
        written += len(piece)

    await in_thread(write_behind, await write_body(request, write_behind))
    if written != length:
        raise Refusal(400, f"{written} bytes came, and this address takes {length}")


def _finish(hub: Hub, incoming: Incoming, grant: Grant) -> None:
    if incoming.sha256() != grant.oid:
        raise Refusal(400, f"what came is not {grant.oid}: its SHA-256 is {incoming.sha256()}; send it again")
    incoming.finish(grant.model, grant.oid)
    hub.staging.spend(grant.upload)


def _complete(hub: Hub, grant: Grant) -> Response:
    """Check what came in parts, and keep it."""
    incoming = hub.staging.begin(f"{grant.oid}-{grant.upload}")
    sound = True
    try:
        with incoming.alone():
            found, size = incoming.read_sha256()
            sound = (found, size) == (grant.oid, grant.size)
            if not sound:
                what = f"it has {size} bytes and the SHA-256 {found}; send it again"
                raise Refusal(400, f"what came in parts is not {grant.oid} of {grant.size} bytes: {what}")
            incoming.finish(grant.model, grant.oid)
            hub.staging.spend(grant.upload)
    except Finished:  # by the same request, sent twice at once
        if not hub.staging.has(grant.model, grant.oid, grant.size):
            raise Refusal(409, _SPENT) from None
    finally:
        incoming.close(discard=not sound)
    return _received(grant.oid)


def _received(etag: str) -> Response:
    return Json({"message": "ok"}, headers={"ETag": f'"{etag}"'})
