"""One version: what it is, its tensors, its names, its files, its events."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from registry.catalog.entry import Entry
from registry.catalog.query import Query, Term
from registry.catalog.trail import Event
from registry.errors.arguments import InvalidArgument
from registry.home.home import Home
from registry.reference import parse
from registry.tensors.arguments import Arguments
from registry.tensors.manifest import Manifest
from registry.upkeep.blame import blame

from ..access import Role, caller_of
from ..service import service_of
from . import tables
from .rendering import page, version_url, view
from .tensors import MOST_BYTES, PAGE, described

_CHILDREN = 40
"""More are not drawn."""

PARTS = {"": "Overview", "tensors": "Tensors", "names": "Names", "files": "Files", "events": "Events"}


@view
def version(request: Request, ref: str, part: str) -> Response:
    """Show a part of what is known of a version; an alias leads to the version that it points to."""
    service, caller = service_of(request), caller_of(request)
    caller.require(Role.READ, parse(ref).name)
    entry = service.home.database.resolve(ref, trashed=True)
    if part not in PARTS:
        raise InvalidArgument("version", "part", part, f"give one of {', '.join(filter(None, PARTS))}")
    if entry.ref != ref:
        return RedirectResponse(version_url(entry.ref, part), 307)
    if part == "events" and (form := tables.wanted(request)):
        rows = [
            (e.number, e.at.isoformat(), e.actor, e.verb, json.dumps(e.details), e.hash)
            for e in _events(service.home, entry)
        ]
        return tables.table(form, "events", ("number", "at", "actor", "verb", "details", "hash"), rows)
    common: dict[str, Any] = {"entry": entry, "part": part, "parts": PARTS, "q": entry.name}
    return page(request, f"version_{part or 'overview'}.html", "Models", **common, **_context(request, entry, part))


def _context(request: Request, entry: Entry, part: str) -> dict[str, Any]:
    home = service_of(request).home
    catalog = home.database
    if part == "events":
        return {"events": _events(home, entry)}
    if part == "names":
        return {"rows": _names(entry, home.manifest(entry)), "manifest": home.manifest(entry)}
    if part == "tensors":
        return _tensors(request, entry, home.manifest(entry))
    if part == "files":
        return {}
    return {
        "snippets": _snippets(request, entry),
        "init": _arguments(entry),
        "nodes": _lineage(request, entry),
        "audited": catalog.remembered.last_audit((entry.name, entry.ref)),
    }


def _events(home: Home, entry: Entry) -> list[Event]:
    """Return what happened to a version, the newest first, by whatever name its model had."""
    called = {f"{name}:v{entry.version}" for name in (entry.name, *entry.former_names)}
    return [event for event in home.database.events(entry.name) if event.reference in called]


def _arguments(entry: Entry) -> object:
    return entry.init.raw if isinstance(entry.init, Arguments) else dict(entry.init)


def _snippets(request: Request, entry: Entry) -> dict[str, str]:
    """Return how it is loaded, by what for."""
    place = f"{request.url.scheme}://{request.url.netloc}"
    home = f'registry.Registry("{place}")'
    made = "" if entry.model_class or entry.builder else ", model=Net()"
    return {
        "one device": f'm = {home}.load("{entry.ref}"{made})',
        "DDP, on rank r": f'm = {home}.load("{entry.ref}"{made}, ddp=True, rank=r)',
        "FSDP, on rank r": f'm = {home}.load("{entry.ref}"{made}, fsdp=True, rank=r)',
        "command line": f"registry export {entry.ref} {entry.name.rpartition('/')[2]}.pth --format pth",
        "Hugging Face": f"HF_ENDPOINT={place} hf download {entry.name} --revision v{entry.version}",
    }


def _lineage(request: Request, entry: Entry) -> list[tuple[str, str | None, str]]:
    """Return the ancestors of a version, itself and its children, for the drawing."""
    home = service_of(request).home
    chain = [entry]
    seen = {entry.identity}
    while (parent := home.database.lineage.parent(chain[0])) is not None and parent.identity not in seen:
        seen.add(parent.identity)
        chain.insert(0, parent)
    nodes: list[tuple[str, str | None, str]] = []
    for before, each in zip([None, *chain], chain, strict=False):
        nodes.append((each.ref, before.ref if before else None, version_url(each.ref)))
    children = home.database.search(Query((Term("parent", entry.ref),)), limit=_CHILDREN)
    nodes += [(child.ref, entry.ref, version_url(child.ref)) for child in children if child.identity not in seen]
    return nodes if len(nodes) > 1 else []


def _names(entry: Entry, manifest: Manifest) -> list[tuple[str, str]]:
    """Return (as saved, canonical) of every tensor."""
    return [(entry.unwrapping.wrapped(name), name) for name in manifest.tensors]


def _tensors(request: Request, entry: Entry, manifest: Manifest) -> dict[str, Any]:
    """Return a page of the tensors whose names hold a word, and the one that is looked at."""
    home, asked = service_of(request).home, request.query_params
    wanted, name = asked.get("name", ""), asked.get("tensor", "")
    found = {each: stored for each, stored in manifest.tensors.items() if wanted.lower() in each.lower()}
    begin = max(0, int(asked["from"])) if asked.get("from", "").isdecimal() else 0
    shown = dict(list(found.items())[begin : begin + PAGE])
    stored = manifest.tensors.get(name)
    large = stored is not None and stored.spec.nbytes > MOST_BYTES
    return {
        "tensors": shown,
        "found": len(found),
        "begin": begin,
        "next": begin + PAGE if begin + PAGE < len(found) else None,
        "known": home.database.remembered.statistics([each.digest for each in shown.values()]),
        "tied": {each: group for group in manifest.ties for each in group},
        "wanted": wanted,
        "all": len(manifest.tensors),
        "chosen": name if stored else "",
        "large": large,
        "described": described(home, entry, name, stored) if stored is not None and not large else None,
        "introduced": {each.name: each.ref for each in blame(home, entry.ref, name).tensors}.get(name)
        if stored
        else None,
    }


def _introduced(home: Home, entry: Entry, name: str) -> str | None:
    """Return the version that brought a tensor."""
    return next((each.ref for each in blame(home, entry.ref, None).tensors if each.name == name), None)
