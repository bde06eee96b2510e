"""Which call of the Hub's a request is. Pure.

Told from the path as it was sent: a revision may have a slash in it (``refs%2Fpr%2F1``), which is no separator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

MAIN = "main"


@dataclass(frozen=True)
class Call:
    """What is asked for."""

    kind: str
    """``resolve``, ``model``, ``tree``, ``lfs-batch``, …"""
    name: str = ""
    """Of the model: ``team/pointnet``, or ``pointnet``."""
    revision: str = MAIN
    path: str = ""


def call_of(method: str, raw_path: str) -> Call | None:
    """Return the call that a request is, or None for what is none of them.

    Args:
        raw_path: still quoted, without the query.
    """
    parts = raw_path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 1:
        return _of_api(method, parts[1:])
    return next(_of_repository(method, parts), None)


NO_XET = "/api/set-HF_HUB_DISABLE_XET=1-and-run-it-again"

_ALONE = {
    ("GET", NO_XET.removeprefix("/api/")): "no-xet",
    ("GET", "models"): "models",
    ("GET", "whoami-v2"): "whoami",
    ("POST", "repos/create"): "create",
    ("POST", "validate-yaml"): "validate",
}
_WITH_REVISION = {
    ("GET", "revision"): "model",
    ("GET", "tree"): "tree",
    ("POST", "paths-info"): "paths",
    ("GET", "commits"): "commits",
    ("POST", "preupload"): "preupload",
    ("POST", "commit"): "commit",
    ("POST", "tag"): "tag",
    ("GET", "xet-write-token"): "xet",
}
_FILES = ("resolve", "raw")


def _of_api(method: str, parts: list[str]) -> Call | None:
    method = "GET" if method == "HEAD" else method
    if (kind := _ALONE.get((method, "/".join(parts)))) is not None:
        return Call(kind)
    if parts[0] == "lfs" and len(parts) == 2 and method in ("PUT", "POST"):
        return Call("lfs", path=unquote(parts[1]))
    if parts[0] != "models":
        return None
    rest = parts[1:]
    # The longer name first: `team/net/tree/main` is a tree of `team/net`, and no `team` has a call named `net`.
    for length in (2, 1):
        name, after = _joined(rest[:length]), rest[length:]
        if len(rest) < length or not name:
            continue
        if not after and method == "GET" and (length == 1 or rest[1] != "refs"):
            return Call("model", name)
        if after == ["refs"] and method == "GET":
            return Call("refs", name)
        kind = _WITH_REVISION.get((method, after[0])) if len(after) > 1 else None
        if kind is not None:
            return Call(kind, name, unquote(after[1]), _joined(after[2:]))
    return None


def _of_repository(method: str, parts: list[str]) -> Iterator[Call]:
    for length in (2, 1):
        name, after = _joined(parts[:length]), parts[length:]
        if len(after) > 2 and after[0] in _FILES and method in ("GET", "HEAD"):
            yield Call("resolve", name, unquote(after[1]), _joined(after[2:]))
        if name.endswith(".git") and after == ["info", "lfs", "objects", "batch"] and method == "POST":
            yield Call("lfs-batch", name.removesuffix(".git"))


def _joined(parts: list[str]) -> str:
    return "/".join(map(unquote, parts))
