"""``registry alias``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import completion, options
from .rendering import entry_document, print_json, say


def alias(
    ref: options.Ref,
    alias: Annotated[
        str, typer.Argument(metavar="ALIAS", help="The movable name, such as best.", autocompletion=completion.aliases)
    ],
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias from REF's model instead.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Point an alias at a version, wherever it pointed before.

    Example: registry alias pointnet:v3 best
    """
    registry = options.registry_at(home)
    if remove:
        name = ref.partition(":")[0].partition("@")[0]
        registry.unalias(name, alias)
        if as_json:
            print_json({"name": name, "removed": alias})
        else:
            say(f"removed {name}:{alias}")
        return
    entry = registry.alias(ref, alias)
    if as_json:
        print_json(entry_document(entry))
    else:
        say(f"{entry.name}:{alias} is {entry.ref}")
