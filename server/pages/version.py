"""One version: what it is, its tensors, its names, its files, its events."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice, takewhile
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from registry.catalog.entry import Entry
from registry.errors.catalog import TrashedVersion
from registry.errors.requests import NoSuchPage
from registry.tensors.arguments import Arguments
from registry.upkeep.blame import Ancestors

from ..answers import address_of
from ..asking import Asked, asked
from ..service import service_of
from ..telling import entry_for
from . import files, names, tables, tensors
from .rendering import page, version_url

_ANCESTORS, _CHILDREN = 12, 40
"""More are not drawn."""

_EVENTS = 500
"""More are not shown; as a file there are all."""

PARTS = {"": "Overview", "tensors": "Tensors", "names": "Names", "files": "Files", "events": "Events"}


def version(request: Request, ref: str, part: str) -> Response:
    """Show a part of what is known of a version; an alias leads to the version that it points to."""
    service, asking = service_of(request), asked(request)
    entry = _found(asking, ref)
    if part not in PARTS:
        raise NoSuchPage(request.url.path)
    if entry.ref != ref:
        return RedirectResponse(version_url(entry.ref, part), 307)
    if form := tables.wanted(request):
        if part == "events":
            return tables.of_events(form, service.home.database.events_of(entry, tables.MOST))
        if part == "tensors":
            manifest = service.home.manifest(entry)
            return tables.table(form, "tensors", tensors.COLUMNS, tensors.rows(service.home, manifest))
        if part == "names":
            return tables.table(form, "names", names.COLUMNS, names.rows(entry, service.home.manifest(entry)))
    common: dict[str, Any] = {"entry": entry, "part": part, "parts": PARTS, "q": entry.name}
    return page(request, f"version_{part or 'overview'}.html", "Models", **common, **_context(request, entry, part))


def _found(asking: Asked, ref: str) -> Entry:
    """Return a version, even if it is in the trash, as the caller may read it."""
    try:
        return entry_for(asking.entry(ref), asking.caller)
    except TrashedVersion:
        return entry_for(asking.entry(ref, trashed=True), asking.caller)


def _context(request: Request, entry: Entry, part: str) -> dict[str, Any]:
    home = service_of(request).home
    catalog = home.database
    if part == "events":
        return {"events": catalog.events_of(entry, _EVENTS)}
    if part == "names":
        return names.context(request, entry, home.manifest(entry))
    if part == "tensors":
        return tensors.context(request, entry, home.manifest(entry))
    if part == "files":
        return files.context(request, entry, home.manifest(entry))
    return {
        "snippets": _snippets(request, entry),
        "init": _raw(entry.init),
        "parts_": [(part.part, part.model_class, _raw(part.init)) for part in entry.parts],
        "nodes": _lineage(request, entry),
        "audited": catalog.remembered.last_audit((entry.name, entry.ref)),
    }


def _raw(init: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return init.raw if isinstance(init, Arguments) else init


def _snippets(request: Request, entry: Entry) -> dict[str, str]:
    """Return how it is loaded, by what for."""
    place = address_of(request.scope)
    home = f'import registry\n\nhub = registry.Registry("{place}")\n'
    made = _class(entry.model_class) or ("" if entry.builder or entry.parts else ", model=Net()")
    snippets = {
        "one device": f'{home}m = hub.load("{entry.ref}"{made})',
        "DDP, on rank r": f'{home}m = hub.load("{entry.ref}"{made}, ddp=True, rank=r)',
        "FSDP, on rank r": f'{home}m = hub.load("{entry.ref}"{made}, fsdp=True, rank=r)',
    }
    if entry.parts:
        first = entry.parts[0]
        snippets["one part"] = f'{home}m = hub.load("{entry.ref}", part="{first.part}"{_class(first.model_class)})'
    return snippets | {
        "command line": f"registry export {entry.ref} {entry.name.rpartition('/')[2]}.pth --format pth --home {place}",
        "Hugging Face": f"HF_ENDPOINT={place} hf download {entry.name} --revision v{entry.version}",
    }


def _class(target: str | None) -> str:
    """Return the argument that names a class: of what comes from a server no code is run that is not named."""
    return f', model="{target}"' if target else ""


def _lineage(request: Request, entry: Entry) -> list[tuple[str, str | None, str]]:
    """Return the nearest ancestors of a version, itself and its children, as far as the caller may read them."""
    home, asking = service_of(request).home, asked(request)
    older = takewhile(lambda each: asking.sees(each.name), Ancestors(home, entry))
    chain = [entry, *islice(older, _ANCESTORS)]
    nodes: list[tuple[str, str | None, str]] = []
    before: Entry | None = None
    for each in reversed(chain):
        nodes.append((each.ref, before.ref if before else None, version_url(each.ref)))
        before = each
    seen = {each.identity for each in chain}
    children = home.database.lineage.children(entry, _CHILDREN)
    readable = [each for each in children if asking.sees(each.name) and each.identity not in seen]
    nodes += [(child.ref, entry.ref, version_url(child.ref)) for child in readable]
    return nodes if len(nodes) > 1 else []
