"""What a page can change: each a form that is posted, done as the caller, and answered with the page that shows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from registry.errors.arguments import InvalidArgument
from registry.errors.root import RegistryError
from registry.reference import parse

from ..access import Role
from ..asking import asked
from ..login import set_session
from ..service import service_of
from .rendering import page, version_url

Form = Mapping[str, str]
Action = Callable[[Request, Form], Response]


def posted(action: Action) -> Callable[[Request], Awaitable[Response]]:
    """Read the form."""

    @wraps(action)
    async def answer(request: Request) -> Response:
        body = (await request.body()).decode("utf-8", "replace")
        form = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=20))
        return await run_in_threadpool(action, request, form)

    return answer


def login_page(request: Request) -> Response:
    """Ask for a token."""
    return page(request, "login.html", "Log in", next=_own(request.query_params.get("next", "/")), wrong="")


@posted
def login(request: Request, form: Form) -> Response:
    """Take a token, and give a cookie in its place."""
    where = _own(form.get("next", "/"))
    try:
        _, cookie = service_of(request).access.begin_session(form.get("token", ""))
    except RegistryError as error:
        return page(request, "login.html", "Log in", 401, next=where, wrong=str(error))
    answer = RedirectResponse(where, 303)
    set_session(request, answer, cookie)
    return answer


@posted
def logout(request: Request, form: Form) -> Response:
    """Forget the cookie."""
    answer = RedirectResponse("/", 303)
    set_session(request, answer, "")
    return answer


@posted
def change(request: Request, form: Form) -> Response:
    """Do what a form of a model's or a version's page asks for."""
    ref, what = request.path_params["rest"], form.get("do", "")
    asking, name = asked(request), parse(ref).name
    catalog = asking.catalog
    if what == "rollback":
        catalog.roll_back(asking.current(name, Role.WRITE), form.get("alias", ""))
        return RedirectResponse(version_url(name), 303)
    if what == "alias":
        catalog.set_alias(asking.entry(ref, Role.WRITE), form.get("alias", "").strip())
    elif what == "rm":
        catalog.trash(asking.entry(ref, Role.ADMIN))
    elif what == "restore":
        catalog.restore(asking.entry(ref, Role.ADMIN, trashed=True))
    else:
        raise InvalidArgument("change", "do", f"'{what}'", "give one of alias, rollback, rm, restore")
    return RedirectResponse(version_url(ref), 303)


def _own(path: str) -> str:
    """Return a path of this server; of any other, the first page."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"
