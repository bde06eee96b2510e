"""Which part of a file is asked for, and parts that the connection itself reads and sends.

It is the ASGI extension ``http.response.zerocopysend``, which uvicorn does not have and ``Connection`` has. What is
given is a handle, which stays open until the call returns. The bytes are read and written, a little at a time, and
not handed to ``sendfile``: a client or a proxy on this machine would take them by the page, and longer for it.
"""

from __future__ import annotations

import re

from starlette.types import Scope, Send

EXTENSION = "http.response.zerocopysend"

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


def can_send_files(scope: Scope) -> bool:
    """Whether the connection of a request takes parts of files."""
    return EXTENSION in scope.get("extensions", {})


async def send_part(send: Send, handle: int, begin: int, nbytes: int) -> None:
    """Send a part of an open file as a part of the answer's body, which goes on after it."""
    await send({"type": EXTENSION, "file": handle, "offset": begin, "count": nbytes, "more_body": True})


def requested_range(given: str | None, size: int) -> tuple[int, int] | None:
    """Return the bytes that a header asks for, as begin and end; None where all are sent.

    Several ranges, and what is no range, are answered with the whole.

    Raises:
        ValueError: there are no such bytes.
    """
    found = _RANGE.fullmatch(given.replace(" ", "")) if given is not None else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        begin, end = max(0, size - int(found[2])), size
    else:
        begin, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < begin:
            return None
    if begin >= size or begin >= end:
        raise ValueError("no such bytes")
    return begin, end
