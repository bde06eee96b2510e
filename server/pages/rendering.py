"""From a view's context to a page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from registry.errors.root import RegistryError, size
from registry.errors.server import TokenNeeded
from registry.notebook import ago

from ..access import NOBODY, caller_of
from ..answers import address_of, status_of
from ..service import service_of
from . import charts

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""What a browser is told of a page, besides what it is told of every answer."""

_LONG = 200
"""Characters of one thing that an event tells."""

_DIGEST = re.compile("[0-9a-f]{32,}")
"""Whole."""


def page(request: Request, template: str, section: str = "", status: int = 200, **context: Any) -> HTMLResponse:
    """Render a template."""
    body = (
        _environment()
        .get_template(template)
        .render(
            section=section,
            q=context.pop("q", request.query_params.get("q", "")),
            caller=caller_of(request),
            home=service_of(request).settings.home.name,
            here=request.url.path,
            place=address_of(request.scope),
            query=request.query_params,
            **context,
        )
    )
    return HTMLResponse(body, status, SECURITY)


def refusal_page(request: Request, error: RegistryError) -> Response:
    """Return the page of an error; who needs a token to see a page is asked for it."""
    request.scope.setdefault("registry.caller", NOBODY)
    if isinstance(error, TokenNeeded) and request.method == "GET":
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?{urlencode({'next': here})}", 303)
    status = status_of(error)
    return page(request, "error.html", status=status, is_missing=status == 404, message=str(error), q="")


def version_url(ref: str, part: str = "", **query: str) -> str:
    """Return the page of a version: its reference is in its URL as it is."""
    asked = {key: value for key, value in query.items() if value}
    return f"/models/{quote(ref, safe='/:')}{f'/{part}' if part else ''}{f'?{urlencode(asked)}' if asked else ''}"


def offset(request: Request) -> int:
    """Return from where on a list goes on, as its address says."""
    asked = request.query_params.get("from", "")
    return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 0


def file_url(name: str, version: int, path: str) -> str:
    """Return where a file of a version is downloaded, in part or whole, by a browser and by the Hub's clients."""
    return f"/{quote(name)}/resolve/v{version}/{quote(path)}"


def moment(at: datetime) -> Markup:
    """Word a time: how long ago, with the time itself for who asks."""
    return Markup('<time datetime="{0}" title="{1}">{2}</time>').format(
        at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S} UTC", ago(at)
    )


def figure(value: float | None) -> str:
    """Word a metric."""
    return "" if value is None else f"{value:.6g}"


def brief(value: float | None) -> str:
    """Word a metric in a table of many."""
    return "" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:.6g}"


def short(value: float | None) -> str:
    """Word a value where many stand beside each other."""
    return "" if value is None else f"{value:.3g}"


def details(told: Mapping[str, Any]) -> str:
    """Word what an event tells, in a line or two; a file of events has all of it."""
    return " · ".join(f"{key}: {_worded(value)}" for key, value in told.items() if value)


def _worded(value: object) -> str:
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}={_worded(each)}" for key, each in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(map(_worded, value))
    elif isinstance(value, float):
        text = figure(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    if _DIGEST.fullmatch(text):
        return text[:12]
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def python(value: object) -> str:
    """Word a constructor argument as Python has it; of a very long one the beginning."""
    text = repr(value)
    return text if len(text) <= 5 * _LONG else f"{text[: 5 * _LONG]}…"


def breakable(label: str) -> Markup:
    """Let a long heading be broken where its words end."""
    return Markup("".join(f"{escape(c)}<wbr>" if c in "_/.-" else str(escape(c)) for c in label))


def count(number: int) -> str:
    """Word a number of things."""
    return f"{number:,}"


def markdown(text: str) -> Markup:
    """Render a card; HTML in it is text, and links lead nowhere that runs."""
    parser = MarkdownIt("js-default")
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            # The page's own headings are the first two levels.
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))


@cache
def _environment() -> Environment:
    folder = resources.files(__package__) / "templates"

    def source(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        ago=ago,
        moment=moment,
        figure=figure,
        brief=brief,
        breakable=breakable,
        python=python,
        short=short,
        count=count,
        size=size,
        details=details,
        markdown=markdown,
        urlencode=urlencode,
    )
    environment.globals.update(version_url=version_url, file_url=file_url, charts=charts)
    return environment
