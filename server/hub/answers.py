"""How the Hub's clients are told that something cannot be done: in the headers that they read, and in a sentence."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from registry.errors.catalog import (
    InvalidAlias,
    InvalidModelName,
    InvalidReference,
    NoLiveVersion,
    PurgedVersion,
    TrashedVersion,
    UnknownModel,
    UnknownVersion,
)
from registry.errors.root import RegistryError

from ..answers import status_of

NO_REPOSITORY, NO_REVISION, NO_ENTRY = "RepoNotFound", "RevisionNotFound", "EntryNotFound"

_CODES: dict[type[RegistryError], tuple[int, str]] = {
    **dict.fromkeys((UnknownModel, InvalidModelName, NoLiveVersion), (404, NO_REPOSITORY)),
    **dict.fromkeys(
        (UnknownVersion, TrashedVersion, PurgedVersion, InvalidAlias, InvalidReference), (404, NO_REVISION)
    ),
}
"""Of what is read; in what is written, a name that is none is a bad request."""

_log = logging.getLogger("registry.server.hub")


class Refusal(Exception):
    """What is answered instead of what was asked for.

    Args:
        code: the Hub's word for it, if it has one.
    """

    def __init__(
        self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})


class Json(Response):
    """A JSON document."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def refused(error: RegistryError, *, reads: bool) -> Refusal:
    """Return how an error of ours is answered.

    Args:
        reads: nothing was to be changed.
    """
    kinds = type(error).__mro__ if reads or isinstance(error, (UnknownModel, UnknownVersion)) else ()
    status, code = next((_CODES[kind] for kind in kinds if kind in _CODES), (status_of(error), None))
    if status >= 500:
        _log.error("%s", error)
    return Refusal(status, str(error), code)


def answer(refusal: Refusal) -> Response:
    """Return a refusal as the clients read it."""
    # A header is one line of Latin letters.
    line = " ".join(refusal.message.split()).encode("ascii", "backslashreplace").decode()[:1000]
    headers = {**refusal.headers, "X-Error-Message": line}
    if refusal.code is not None:
        headers["X-Error-Code"] = refusal.code
    return Json({"error": refusal.message}, refusal.status, headers)
