"""The calls of the Hub that read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import ASGIApp

from ..access import Role
from . import documents
from .answers import NO_ENTRY, Json, Refusal
from .content import Content
from .files import HubFile
from .hub import Asked, Hub
from .pending import Pending
from .routes import Call
from .snapshots import commit_id

_MOST_LISTED = 500
_MOST_COMMITS = 1000

Answer = Response | ASGIApp
Handler = Callable[[Hub, Call, Asked], Answer]


def resolve(hub: Hub, call: Call, asked: Asked) -> Answer:
    """Answer with a file's bytes."""
    snapshot = hub.readable(call, asked.caller)
    file = _file(hub.snapshots.files(snapshot), call.path, snapshot.commit)
    headers = {"etag": f'"{file.etag}"', "x-repo-commit": snapshot.commit, "content-type": "application/octet-stream"}
    headers["content-disposition"] = f"attachment; filename*=UTF-8''{quote(file.path.rpartition('/')[2])}"
    headers["x-content-type-options"] = "nosniff"
    if file.sha256 is not None:
        headers |= {"x-linked-size": str(file.size), "x-linked-etag": f'"{file.etag}"'}
    return Content(hub.home, file, headers)


def model(hub: Hub, call: Call, asked: Asked) -> Answer:
    """Answer with what there is to know of a model at a revision."""
    snapshot = hub.readable(call, asked.caller)
    files = hub.snapshots.files(snapshot)
    if isinstance(snapshot, Pending):
        return Json(documents.waiting_model_of(snapshot, files))
    return Json(documents.model_of(snapshot, files, hub.snapshots.version_files(snapshot.entry).parameters))


def tree(hub: Hub, call: Call, asked: Asked) -> Answer:
    """Answer with the files of a folder."""
    snapshot = hub.readable(call, asked.caller)
    recursive = asked.query.get("recursive", "").lower() in ("true", "1")
    listed = documents.tree_of(hub.snapshots.files(snapshot).values(), call.path, recursive=recursive)
    if not listed and call.path:
        raise _no_entry(call.path, snapshot.commit)
    return Json(listed, headers={"X-Repo-Commit": snapshot.commit})


def paths(hub: Hub, call: Call, asked: Asked) -> Answer:
    """Answer with those of some files and folders that are there."""
    snapshot = hub.readable(call, asked.caller)
    files = hub.snapshots.files(snapshot)
    found = []
    for path in asked.listed("paths"):
        wanted = path.strip("/")
        if wanted in files:
            found.append(documents.file_line(files[wanted]))
        elif any(each.startswith(f"{wanted}/") for each in files):
            found.append(documents.folder_line(wanted))
    return Json(found, headers={"X-Repo-Commit": snapshot.commit})


def refs(hub: Hub, call: Call, asked: Asked) -> Answer:
    """Answer with the versions and aliases of a model."""
    newest = hub.readable(call, asked.caller)
    tags: dict[str, str] = {}
    if isinstance(newest, Pending):
        return Json(documents.refs_of(newest.commit, tags))
    for entry in hub.home.catalog.entries(newest.name):
        commit = commit_id(entry, newest.card)
        tags.update(dict.fromkeys((f"v{entry.version}", *entry.aliases), commit))
    return Json(documents.refs_of(newest.commit, tags))


def commits(hub: Hub, call: Call, asked: Asked) -> Answer:
    """Answer with the history of a model."""
    snapshot = hub.readable(call, asked.caller)
    page, limit = asked.number("p", 0), asked.number("limit", _MOST_COMMITS, _MOST_COMMITS)
    found = [] if isinstance(snapshot, Pending) else hub.snapshots.history(snapshot.name, snapshot)
    shown = found[page * limit : (page + 1) * limit]
    headers = {"X-Total-Count": str(len(found))}
    if len(found) > (page + 1) * limit:
        headers["Link"] = asked.link({"p": str(page + 1)})
    return Json([documents.commit_line(each) for each in shown], headers=headers)


def models(hub: Hub, call: Call, asked: Asked) -> Answer:
    """Answer with the models that the caller may read."""
    asked.caller.require(Role.READ)
    query = asked.query
    seen = [each for each in hub.home.database.models() if asked.caller.may(Role.READ, each.name)]
    found = documents.chosen(seen, query.get("search", ""), query.get("author", ""), query.get("sort", ""))
    begin, limit = asked.number("skip", 0), asked.number("limit", _MOST_LISTED, _MOST_LISTED)
    lines = []
    for summary in found[begin : begin + limit]:
        snapshot = hub.snapshots.newest(summary.name)
        lines.append(documents.model_line(snapshot.entry, snapshot.commit, summary.changed_at))
    more = len(found) > begin + limit
    return Json(lines, headers={"Link": asked.link({"skip": str(begin + limit)})} if more else None)


def whoami(hub: Hub, call: Call, asked: Asked) -> Answer:
    """Answer with who the caller is."""
    caller = asked.caller
    if caller.user is None:
        raise Refusal(401, "Invalid username or password.")
    return Json(documents.me(caller.user, "read" if caller.role < Role.WRITE else "write"))


def _file(files: Mapping[str, HubFile], path: str, commit: str) -> HubFile:
    if path not in files:
        raise _no_entry(path, commit)
    return files[path]


def _no_entry(path: str, commit: str) -> Refusal:
    return Refusal(404, f"there is no '{path[:200]}' at this revision", NO_ENTRY, {"X-Repo-Commit": commit})


HANDLERS: Mapping[str, Handler] = {
    "resolve": resolve,
    "model": model,
    "tree": tree,
    "paths": paths,
    "refs": refs,
    "commits": commits,
    "models": models,
    "whoami": whoami,
}
