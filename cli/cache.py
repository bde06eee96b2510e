"""``registry cache``."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from . import options
from .rendering import number_of, print_json, say, size, table

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def cache(
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="SIZE", help="Trim them all together to this size, such as 50G; 0 empties them."),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show and trim the local caches of served registries and buckets.

    That of the home is among them if its blobs are in a bucket. What was not used for longest goes first; what a
    process is using stays. It is fetched again when it is needed.

    Example: registry cache --to 50G
    """
    from registry.client.cache import found, trim

    most = None if to is None else _bytes(to)
    own = options.registry_at(home).cache
    others = () if own is None else (own,)
    trimmed = None if most is None else trim(most, others)
    caches = found(others) if trimmed is None else trimmed.caches
    if as_json:
        print_json({"caches": caches, "trimmed": trimmed and {"removed": trimmed.removed, "nbytes": trimmed.nbytes}})
        return
    if caches:
        rows = [(each.name, str(each.blobs), size(each.nbytes), str(each.path)) for each in caches]
        table((("cache of", "files", "size", "folder"), *rows), right=("files", "size"), whole=("folder",))
    else:
        say("there are no caches: nothing was loaded from a server or a bucket")
    if trimmed is not None:
        stayed = f"; {number_of(trimmed.kept, 'file')} in use stayed" if trimmed.kept else ""
        say(f"removed {number_of(trimmed.removed, 'file')}, {size(trimmed.nbytes)}{stayed}")


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,15})([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise typer.BadParameter(f"--to '{text}' is not a valid size; give for example 50G or 500M")
    return int(match[1]) * _UNITS[match[2].upper()]
