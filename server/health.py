"""Whether a server can do its work."""

from __future__ import annotations

from fastapi import APIRouter, Request

from registry.errors.catalog import HomeUnusable

from .service import service_of

router = APIRouter()


@router.get("/healthz")
def healthz(request: Request) -> dict[str, str]:
    """Answer with 200 when the catalog does, and otherwise with the error that keeps it."""
    home = service_of(request).home
    if not home.is_made:
        raise HomeUnusable(str(home.folder), "it is gone")
    home.catalog.next_number("healthz")
    return {"status": "ok"}
