"""How an error is answered: its status, and the document that it is everywhere."""

from __future__ import annotations

import logging

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from registry.errors.blobs import DamagedBlob, ObjectsUnreachable, StoreUnreadable, StoreUnwritable
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
from registry.errors.client import Collected, InvalidRequest, UploadElsewhere, UploadGone
from registry.errors.root import RegistryError
from registry.errors.server import NotAllowed, WrongToken

_STATUS: dict[type[RegistryError], int] = {
    WrongToken: 401,
    NotAllowed: 403,
    **dict.fromkeys((UnknownModel, UnknownVersion, NothingThatDay, AbsentFact, DamagedBlob, UploadGone), 404),
    **dict.fromkeys((FormerName, NameTaken, NeededBase, AliasedVersion, Collected, UploadElsewhere), 409),
    **dict.fromkeys((TrashedVersion, PurgedVersion), 410),
    **dict.fromkeys((ChangedVersion, DatabaseDamaged, HomeUnusable, StoreUnreadable), 500),
    **dict.fromkeys((DatabaseBusy, DatabaseChanged, ObjectsUnreachable, HomeReadOnly), 503),
    **dict.fromkeys((DatabaseFull, StoreUnwritable), 507),
}
"""What is none of these is something in the request that can be put right: 400."""

_log = logging.getLogger("registry.server")


def status_of(error: RegistryError) -> int:
    """Return the HTTP status of an error, by its class or the nearest one above it."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 400)


def refusal(error: RegistryError) -> JSONResponse:
    """Answer with an error as ``{"error": {"code", "message", "fields"}}``."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, WrongToken) else None
    return JSONResponse({"error": error.document()}, status_of(error), headers)


def refused(request: Request, error: Exception) -> JSONResponse:
    """Answer what a verb refused."""
    assert isinstance(error, RegistryError)
    if status_of(error) >= 500:
        _log.error("%s %s: %s", request.method, request.url.path, error)
    return refusal(error)


def unreadable(request: Request, error: Exception) -> JSONResponse:
    """Answer what does not have the form that a call takes."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"][1:])) or "the body"
    return refusal(InvalidRequest(f"{where}: {first['msg']}"))
