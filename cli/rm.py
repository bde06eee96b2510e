"""``registry rm``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .rendering import entry_document, print_json, say


def rm(
    ref: options.Ref,
    force: Annotated[bool, typer.Option("--force", help="Also if aliases point there; they are dropped.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Put a version into the trash.

    Example: registry rm pointnet:v2
    """
    entry = options.registry_at(home).rm(ref, force=force)
    if as_json:
        print_json(entry_document(entry))
    else:
        say(
            f"{entry.ref} is in the trash; `registry restore {entry.ref}` takes it back, `registry gc` empties it later"
        )
