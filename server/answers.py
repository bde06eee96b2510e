"""How an error is answered: its status, and the document that it is everywhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from registry.errors.blobs import (
    AbsentBlob,
    CorruptTensors,
    DamagedBlob,
    ObjectsUnreachable,
    StoreUnreadable,
    StoreUnwritable,
)
from registry.errors.catalog import (
    AbsentFact,
    AliasedVersion,
    ChangedVersion,
    DatabaseBusy,
    DatabaseChanged,
    DatabaseDamaged,
    DatabaseFull,
    FormerName,
    HomeReadOnly,
    HomeUnusable,
    NameTaken,
    NeededBase,
    NothingThatDay,
    PurgedVersion,
    TrashedVersion,
    UnknownModel,
    UnknownVersion,
)
from registry.errors.client import Collected, KeyUsedBefore, UploadElsewhere, UploadGone
from registry.errors.requests import (
    ForeignHost,
    ForeignOrigin,
    InvalidRequest,
    NoSuchPage,
    OversizedBody,
    OversizedHeaders,
    ServerBusy,
    ServerFailed,
    ServerStopping,
    SlowRequest,
    WrongMethod,
)
from registry.errors.root import RegistryError, shown
from registry.errors.server import NotAllowed, TokenNeeded, WrongToken

from .access import NOBODY
from .telling import told

_STATUS: dict[type[RegistryError], int] = {
    **dict.fromkeys((WrongToken, TokenNeeded), 401),
    **dict.fromkeys((NotAllowed, ForeignOrigin), 403),
    **dict.fromkeys(
        (UnknownModel, UnknownVersion, NothingThatDay, AbsentFact, NoSuchPage, AbsentBlob, UploadGone), 404
    ),
    WrongMethod: 405,
    SlowRequest: 408,
    **dict.fromkeys((FormerName, NameTaken, NeededBase, AliasedVersion), 409),
    **dict.fromkeys((Collected, UploadElsewhere, KeyUsedBefore), 409),
    **dict.fromkeys((TrashedVersion, PurgedVersion), 410),
    OversizedBody: 413,
    ForeignHost: 421,
    OversizedHeaders: 431,
    **dict.fromkeys((ChangedVersion, CorruptTensors, DamagedBlob, DatabaseDamaged, StoreUnreadable, ServerFailed), 500),
    **dict.fromkeys((DatabaseBusy, DatabaseChanged, ObjectsUnreachable, HomeReadOnly, HomeUnusable), 503),
    **dict.fromkeys((ServerBusy, ServerStopping), 503),
    **dict.fromkeys((DatabaseFull, StoreUnwritable), 507),
}
"""What is none of these is something in the request that can be put right: 400."""

_HEADERS: Mapping[type[RegistryError], Mapping[str, str]] = {
    # By these words clients of Hugging Face tell a wrong token from a repository that there is not.
    WrongToken: {"WWW-Authenticate": "Bearer", "X-Error-Message": "Invalid credentials in Authorization header"},
    TokenNeeded: {"WWW-Authenticate": "Bearer"},
    ServerBusy: {"Retry-After": "5"},
}

_log = logging.getLogger("registry.server")


@dataclass(frozen=True)
class ErrorFacts:
    """What went wrong."""

    code: str
    """Stable name of its kind: ``"unknown-version"``."""
    message: str
    """What is wrong, and what to do about it."""
    fields: dict[str, Any]
    """The facts that it was made of."""


@dataclass(frozen=True)
class ErrorDocument:
    """What every error is answered with."""

    error: ErrorFacts


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorDocument, "description": "The request cannot be fulfilled; the message says why."},
    "5XX": {"model": ErrorDocument, "description": "The server cannot fulfill it; the message says why."},
}


def status_of(error: RegistryError) -> int:
    """Return the HTTP status of an error, by its class or the nearest one above it."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 400)


def refusal(error: RegistryError) -> JSONResponse:
    """Answer with an error as ``{"error": {"code", "message", "fields"}}``."""
    headers = dict(_HEADERS.get(type(error), {}))
    if isinstance(error, WrongMethod) and (allowed := error.fields().get("allowed")):
        headers["Allow"] = ", ".join(allowed)
    return JSONResponse({"error": error.document()}, status_of(error), headers)


def refusal_of(error: RegistryError, scope: Scope) -> Response:
    """Answer with an error, as the sender may be told it; one that is this server's stands in its log, too.

    A browser gets a page.
    """
    if status_of(error) >= 500:
        _log.error("%s %s: %s", shown(scope["method"]), shown(scope["path"]), error)
    error = told(error, scope.get("registry.caller", NOBODY), address_of(scope))
    if wants_page(scope):
        from .pages.rendering import refusal_page

        return refusal_page(Request(scope), error)
    return refusal(error)


def address_of(scope: Scope) -> str:
    """Return the address of this server, as whoever asks calls it: ``https://hub.lab.example``."""
    return f"{scope['scheme']}://{Headers(scope=scope).get('host', '')}"


def wants_page(scope: Scope) -> bool:
    """Whether a person waits for the answer: a browser asks for HTML, by an address that is not the API's."""
    return not scope["path"].startswith("/api/") and "text/html" in Headers(scope=scope).get("accept", "")


def refused(request: Request, error: Exception) -> Response:
    """Answer what a verb refused."""
    assert isinstance(error, RegistryError)
    return refusal_of(error, request.scope)


def unknown(request: Request, error: Exception) -> Response:
    """Answer what the framework refused: no such path, no such method, a body that could not be read."""
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if isinstance(error.__cause__, RegistryError):
        return refusal_of(error.__cause__, request.scope)
    if error.status_code == 404:
        return refusal_of(NoSuchPage(path), request.scope)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "").split(", ")
        return refusal_of(WrongMethod(request.method, path, sorted(filter(None, allowed))), request.scope)
    return refusal(InvalidRequest(str(error.detail)[:500]))


def unreadable(request: Request, error: Exception) -> JSONResponse:
    """Answer a request whose parts are not what a route takes; without what they are, which may be long or secret."""
    assert isinstance(error, RequestValidationError)
    parts = [f"{'.'.join(map(str, each['loc']))[:100]}: {each['msg'][:200]}" for each in error.errors()[:5]]
    return refusal(InvalidRequest("; ".join(parts)))
