"""Which page is where."""

from __future__ import annotations

from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Scope

from registry.errors.requests import NoSuchPage

from ..hub.routes import call_of
from . import actions, activity, compare, files, model, models, version

_STATIC = {
    "app.css": "text/css",
    "app.js": "text/javascript",
    "theme.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


class PageRoute(Route):
    """A path of a page, unless it is one of the Hub's: a model may be called ``models/net``."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = scope.get("raw_path") or scope.get("path", "").encode()
        if scope["type"] == "http" and call_of(scope["method"], path.decode("latin-1")) is not None:
            return Match.NONE, {}
        return super().matches(scope)


def routes() -> list[BaseRoute]:
    """Return the routes of all pages."""
    return [
        Route("/", models.models, name="models"),
        Route("/versions", models.versions),
        Route("/compare", compare.compare),
        Route("/activity", activity.activity),
        Route("/storage", activity.storage),
        Route("/trash", activity.trash),
        Route("/login", actions.login_page),
        Route("/login", actions.login, methods=["POST"]),
        Route("/logout", actions.logout, methods=["POST"]),
        PageRoute("/models/{rest:path}", _of_model),
        PageRoute("/models/{rest:path}", actions.change, methods=["POST"]),
        PageRoute("/static/{name}", _static),
    ]


def _of_model(request: Request) -> Response | ASGIApp:
    """A model's page, or one of a version's: ``/models/team/pointnet``, ``/models/team/pointnet:v3/tensors``."""
    name, colon, rest = request.path_params["rest"].partition(":")
    if not colon:
        return model.model(request, name)
    selector, _, part = rest.partition("/")
    if part == files.AS_SAVED:
        return files.as_saved(request, f"{name}:{selector}")
    return version.version(request, f"{name}:{selector}", part)


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        raise NoSuchPage(request.url.path)
    body = (resources.files(__package__) / "static" / name).read_bytes()
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(body, media_type=_STATIC[name], headers=headers)
