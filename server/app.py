"""The application: what is answered where."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from registry.errors.root import RegistryError

from . import api, health, login
from .answers import ERRORS, refused, unknown, unreadable
from .bodies import Bodies
from .envelope import Envelope
from .hosts import HostGuard, names_of
from .hub.app import HubApplication
from .identity import Identity
from .pages.routes import routes as pages
from .service import Service
from .settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Return the application that serves a home; its documentation pages, which load foreign scripts, are off."""
    service = Service(settings)
    hub = HubApplication(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.open()
        yield
        hub.close()
        service.close()

    app = FastAPI(
        title="checkpoint-registry",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        responses=ERRORS,
    )
    app.state.service = service
    app.state.hub = hub.hub
    app.add_exception_handler(RegistryError, refused)
    app.add_exception_handler(HTTPException, unknown)
    app.add_exception_handler(RequestValidationError, unreadable)
    # The last one is the first that a request meets.
    app.add_middleware(Bodies, patience=settings.patience)
    app.add_middleware(Identity, service=service)
    app.add_middleware(HostGuard, names=names_of(settings))
    app.add_middleware(Envelope, logs_requests=settings.access_log)
    app.include_router(health.router)
    app.include_router(login.router)
    app.include_router(api.router())
    app.routes.extend(pages())
    # What is none of the routes is the Hub's, whose paths are told apart by how they are quoted.
    app.router.default = hub
    return app
