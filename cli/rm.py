"""``registry rm``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .rendering import entry_document, number_of, print_json, say, size


def rm(
    refs: options.Refs,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also if aliases point there, which are dropped, or adapters need it as base."),
    ] = False,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="REF is the name of a model: remove every version of it.")
    ] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Put versions into the trash: all that are named, or none.

    If one cannot go, none goes. It says which aliases are dropped, and how many bytes `registry gc` will free.

    Example: registry rm pointnet:v2 pointnet:v3
    """
    removed = options.registry_at(home).rm(refs, force=force, all_versions=all_versions)
    entries = removed.versions
    if as_json:
        # Of one, its document is the whole one's too, as it was when there could be only one.
        one = entry_document(entries[0]) if len(entries) == 1 else {}
        versions = [entry_document(entry) for entry in entries]
        print_json({**one, "versions": versions, "nbytes": removed.nbytes})
        return
    for entry in entries:
        say(f"{entry.ref} is in the trash; `registry restore {entry.ref}` takes it back")
        for notice in entry.notices:
            say(f"  {notice}")
    these = "it" if len(entries) == 1 else f"these {number_of(len(entries), 'version')}"
    freed = f"frees {size(removed.nbytes)}" if removed.nbytes else "frees nothing, since other versions share the bytes"
    say(f"after the grace period `registry gc` deletes {these}, which {freed}")
