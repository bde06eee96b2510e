"""The application: what is answered where."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from registry.errors.root import RegistryError

from .answers import refused
from .hub.app import HubApplication
from .service import Service
from .settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Return the application that serves a home; its documentation pages, which load foreign scripts, are off."""
    service = Service(settings)
    hub = HubApplication(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        hub.close()
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
    # What is none of the routes above is the Hub's, which are told by how they are quoted.
    app.router.default = hub
    return app


def _health() -> dict[str, str]:
    return {"status": "ok"}
