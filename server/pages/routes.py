"""Which page is where."""

from __future__ import annotations

from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from . import actions, activity, compare, model, models, version

_STATIC = {
    "app.css": "text/css",
    "app.js": "text/javascript",
    "theme.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


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
        Route("/models/{rest:path}", _of_model),
        Route("/models/{rest:path}", actions.change, methods=["POST"]),
        Route("/static/{name}", _static),
    ]


def _of_model(request: Request) -> Response:
    """A model's page, or one of a version's: ``/models/team/pointnet``, ``/models/team/pointnet:v3/tensors``."""
    name, colon, rest = request.path_params["rest"].partition(":")
    if not colon:
        return model.model(request, name)
    selector, _, part = rest.partition("/")
    return version.version(request, f"{name}:{selector}", part)


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return Response(status_code=404)
    body = (resources.files(__package__) / "static" / name).read_bytes()
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(body, media_type=_STATIC[name], headers=headers)
