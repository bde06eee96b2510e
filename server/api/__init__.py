"""The API of our own client, under ``/api/v1``: what ``docs/http.md`` describes."""

from __future__ import annotations

from fastapi import APIRouter

from . import blobs, changing, copies, reading, uploads, versions

PREFIX = "/api/v1"


def router() -> APIRouter:
    """Return all its routes."""
    found = APIRouter(prefix=PREFIX)
    for part in (reading, changing, blobs, uploads, versions, copies):
        found.include_router(part.router)
    return found
