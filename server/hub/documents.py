"""What the Hub's clients read of models, revisions and files, as JSON documents. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from registry.catalog.entry import Entry
from registry.catalog.listing import ModelSummary

from .files import HubFile
from .pending import Pending
from .routes import MAIN
from .snapshots import Commit, Snapshot

_POINTER_BYTES = 134
"""Of what git would hold in place of a large file."""


def moment(at: datetime) -> str:
    """Return a time as the clients read it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def large(file: HubFile) -> dict[str, Any]:
    """Return what says that a file has a SHA-256, and which; nothing where it has none, or none that is known."""
    if file.sha256 is None:
        return {}
    return {"lfs": {"oid": file.sha256, "sha256": file.sha256, "size": file.size, "pointerSize": _POINTER_BYTES}}


def tree_of(files: Iterable[HubFile], folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """Return what is in a folder, ``""`` being the top: files, and folders as soon as something is in them."""
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    listed: dict[str, dict[str, Any]] = {}
    for file in files:
        if not file.path.startswith(prefix):
            continue
        parts = file.path.removeprefix(prefix).split("/")
        depth = len(parts) - 1 if recursive else min(1, len(parts) - 1)
        for end in range(1, depth + 1):
            path = prefix + "/".join(parts[:end])
            listed.setdefault(path, folder_line(path))
        if recursive or len(parts) == 1:
            listed[file.path] = file_line(file)
    return [listed[path] for path in sorted(listed)]


def file_line(file: HubFile) -> dict[str, Any]:
    return {"type": "file", "path": file.path, "size": file.size, "oid": file.oid, **large(file)}


def folder_line(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": sha256(path.encode()).hexdigest()[:40]}


def model_line(entry: Entry, commit: str, changed_at: datetime) -> dict[str, Any]:
    """Return what is said of a model in a list."""
    tags = [*([entry.builder] if entry.builder else []), "safetensors", *(f"{k}:{v}" for k, v in entry.tags.items())]
    return {
        **_line(entry.name, commit, tags),
        "_id": entry.uid,
        "lastModified": moment(changed_at),
        "createdAt": moment(entry.created_at),
        **({"library_name": entry.builder} if entry.builder else {}),
    }


def _line(name: str, commit: str, tags: list[str]) -> dict[str, Any]:
    return {
        "id": name,
        "modelId": name,
        "author": name.rpartition("/")[0] or None,
        "sha": commit,
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": tags,
    }


def model_of(snapshot: Snapshot, files: Mapping[str, HubFile], parameters: Mapping[str, int]) -> dict[str, Any]:
    """Return what is said of a model at a revision."""
    return {
        **model_line(snapshot.entry, snapshot.commit, snapshot.entry.created_at),
        **_files(files),
        "safetensors": {"parameters": dict(parameters), "total": sum(parameters.values())},
    }


def waiting_model_of(pending: Pending, files: Mapping[str, HubFile]) -> dict[str, Any]:
    """Return what is said of a model that has no version yet."""
    return {**_line(pending.name, pending.commit, []), **_files(files)}


def _files(files: Mapping[str, HubFile]) -> dict[str, Any]:
    siblings = [
        {"rfilename": path, "size": file.size, "blobId": file.oid, **large(file)} for path, file in files.items()
    ]
    return {"siblings": siblings, "spaces": [], "usedStorage": sum(file.size for file in files.values())}


def refs_of(main: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the branch and the tags of a model, each with its commit."""
    return {
        "branches": [{"name": MAIN, "ref": "refs/heads/main", "targetCommit": main}],
        "tags": [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": commit} for name, commit in tags.items()],
        "converts": [],
        "pullRequests": [],
    }


def commit_line(commit: Commit) -> dict[str, Any]:
    return {
        "id": commit.snapshot.commit,
        "title": commit.title,
        "message": commit.snapshot.entry.note,
        "authors": [{"user": commit.author}],
        "date": moment(commit.at),
    }


def chosen(summaries: Iterable[ModelSummary], search: str, author: str, sort: str) -> list[ModelSummary]:
    """Return the models that a search finds, in the order that was asked for: by name, or the latest first."""
    found = [
        each
        for each in summaries
        if search.lower() in each.name.lower() and (not author or each.name.startswith(f"{author}/"))
    ]
    if sort in ("lastModified", "last_modified", "createdAt", "created_at"):
        return sorted(found, key=lambda each: each.changed_at, reverse=True)
    return found


def me(user: str, role: str) -> dict[str, Any]:
    """Return who the holder of a token is."""
    return {
        "type": "user",
        "id": user,
        "name": user,
        "fullname": user,
        "isPro": False,
        "orgs": [],
        "auth": {"type": "access_token", "accessToken": {"displayName": "checkpoint-registry", "role": role}},
    }
