"""The application: what is answered where."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from registry.errors.root import RegistryError

from .answers import refused
from .pages.routes import routes as pages
from .service import Service
from .settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Return the application that serves a home; its documentation pages, which load foreign scripts, are off."""
    service = Service(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="checkpoint-registry",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.add_exception_handler(RegistryError, refused)
    app.add_api_route("/healthz", _health, methods=["GET"])
    app.routes.extend(pages())
    return app


def _health() -> dict[str, str]:
    return {"status": "ok"}
