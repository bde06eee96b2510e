"""The calls of the Hub that write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from registry.errors.catalog import NoLiveVersion, UnknownModel
from registry.reference import check_alias, check_new_model_name

from ..access import Role
from . import admission, commits, lfs
from .answers import Json, Refusal
from .base import Base
from .files import LARGEST_REGULAR
from .hub import Asked, Hub
from .pending import Pending
from .reading import Handler
from .routes import MAIN, NO_XET, Call

_MAINS = (MAIN, "refs/heads/main")
_NO_BRANCHES = "commits go to 'main', which then is a new version; there are no other branches and no pull requests"


def create(hub: Hub, call: Call, asked: Asked) -> Response:
    """Begin a model; it has its first version when its weights are there."""
    body = asked.json()
    if body.get("type", "model") != "model":
        raise Refusal(400, "this server has models only, no datasets and no spaces")
    parts = [part for part in (body.get("organization"), body.get("name")) if part]
    name = "/".join(part for part in parts if isinstance(part, str))
    asked.caller.require(Role.WRITE, name)
    document = {"url": f"{asked.base}/{name}", "name": name}
    with hub.staging.lock(name):
        try:
            hub.snapshots.main(name)
        except (UnknownModel, NoLiveVersion):
            hub.home.catalog.knows(check_new_model_name(name))
            hub.trees.put(Pending(name))
            return Json(document)
    return Json({**document, "error": "You already created this model repo"}, 409, {"X-Error-Message": "it is there"})


def validate(hub: Hub, call: Call, asked: Asked) -> Response:
    """Answer that a card may say what it does: nothing here reads it."""
    return Json({"errors": [], "warnings": []})


def preupload(hub: Hub, call: Call, asked: Asked) -> Response:
    """Answer, for each file, how it travels, and what is there under its path."""
    main = hub.writable(call.name, asked.caller)
    _check_main(call, asked)
    files = Base(hub, main.name).files
    given = asked.json().get("files")
    if not isinstance(given, list) or len(given) > admission.MOST_FILES:
        raise Refusal(400, "'files' is not a list of files")
    answers = []
    for each in given:
        path, size = (each.get("path"), each.get("size")) if isinstance(each, dict) else (None, None)
        if not isinstance(path, str) or type(size) is not int:
            raise Refusal(400, "a file has no path or no size")
        admission.check(path, size)
        answer: dict[str, Any] = {"path": path, "shouldIgnore": False}
        answer["uploadMode"] = "lfs" if size > LARGEST_REGULAR else "regular"
        if (there := files.get(path)) is not None:
            answer["oid"] = there.sha256 or there.etag
        answers.append(answer)
    return Json({"files": answers})


def tag(hub: Hub, call: Call, asked: Asked) -> Response:
    """Give a version an alias; the number of a version is a tag of its own."""
    snapshot = hub.readable(call, asked.caller)
    asked.caller.require(Role.WRITE, snapshot.name)
    name = asked.json().get("tag")
    if isinstance(snapshot, Pending):
        raise Refusal(400, f"{snapshot.name} has no version yet that could have a tag; commit its weights first")
    if not isinstance(name, str) or not name:
        raise Refusal(400, "'tag' is not a name")
    entries = hub.home.catalog.entries(snapshot.name)
    if any(name == f"v{entry.version}" or name in entry.aliases for entry in entries):
        raise Refusal(409, f"{snapshot.name} has the tag '{name}' already; `registry alias` moves it")
    hub.home.database.set_alias(snapshot.entry, check_alias(name))
    return Json({})


def xet(hub: Hub, call: Call, asked: Asked) -> Response:
    """Answer that large files come another way.

    Of an answer, the client of Xet shows no word, but the address that it came from: so it is led to one that says it.
    """
    if call.kind == "xet":
        return Response(status_code=307, headers={"Location": f"{asked.base}{NO_XET}"})
    raise Refusal(400, "this server takes large files by LFS and not by Xet: set HF_HUB_DISABLE_XET=1 and run it again")


async def commit(hub: Hub, call: Call, asked: Asked, request: Request) -> Response:
    """Carry out a commit."""
    main = await run_in_threadpool(hub.writable, call.name, asked.caller)
    _check_main(call, asked)
    with hub.staging.workplace() as folder:
        wanted = await commits.read(hub, main.name, request, folder)
        done = await run_in_threadpool(commits.commit, hub, main.name, wanted)
    url = f"{asked.base}/{main.name}/commit/{done}"
    return Json({"success": True, "commitOid": done, "commitUrl": url, "hookOutput": ""})


def _check_main(call: Call, asked: Asked) -> None:
    if asked.query.get("create_pr") or call.revision not in _MAINS:
        raise Refusal(400, _NO_BRANCHES)


HANDLERS: Mapping[str, Handler] = {
    "create": create,
    "validate": validate,
    "preupload": preupload,
    "tag": tag,
    "xet": xet,
    "no-xet": xet,
    "lfs-batch": lfs.batch,
}
