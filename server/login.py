"""Who a token is, and sessions of browsers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request, Response

from .access import caller_of
from .service import service_of
from .sessions import COOKIE, LASTS

router = APIRouter(prefix="/api/v1")


@dataclass(frozen=True)
class Whoami:
    """Who asks."""

    user: str | None
    """None of somebody without a token."""
    role: str
    """``none``, ``read``, ``write`` or ``admin``."""
    models: tuple[str, ...]
    """Patterns of the names of the models that the token is for."""
    expires_at: datetime | None
    """When the token does; None for never."""


@dataclass(frozen=True)
class Login:
    """What a browser's session begins with."""

    token: str


@router.get("/whoami")
def whoami(request: Request, response: Response) -> Whoami:
    """Say who asks, and what they may."""
    response.headers["Cache-Control"] = "no-store"
    caller = caller_of(request)
    expires = caller.token.expires_at if caller.token is not None else None
    return Whoami(caller.user, caller.role.name.lower(), caller.models, expires)


@router.post("/session")
def begin_session(login: Login, request: Request, response: Response) -> Whoami:
    """Take a token once, and give a cookie in its place that ends with it, or after a week."""
    caller, cookie = service_of(request).access.begin_session(login.token)
    set_session(request, response, cookie)
    expires = caller.token.expires_at if caller.token is not None else None
    return Whoami(caller.user, caller.role.name.lower(), caller.models, expires)


@router.delete("/session", status_code=204)
def end_session(request: Request, response: Response) -> None:
    """Forget the cookie."""
    set_session(request, response, "")


def set_session(request: Request, response: Response, cookie: str) -> None:
    """Have a browser keep a session, which no script reads and no other site has it send; or, empty, forget it."""
    response.headers["Cache-Control"] = "no-store"
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=LASTS if cookie else 0,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
