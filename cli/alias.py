"""``registry alias``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import completion, options
from .rendering import entry_document, print_json, say


def alias(
    ref: options.Ref,
    alias: Annotated[
        str | None,
        typer.Argument(
            metavar="ALIAS",
            help="The movable name, such as best; not with --rollback.",
            autocompletion=completion.aliases,
        ),
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Point the alias REF, such as pointnet:best, to where it pointed before.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias from REF's model instead.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Point an alias at a version, wherever it pointed before.

    With --rollback it points to where it did before its last move; again, one further back. An alias that was removed
    points where it did last.

    Example: registry alias pointnet:v3 best

    Example: registry alias --rollback pointnet:best
    """
    if rollback and (remove or alias is not None):
        raise typer.BadParameter("--rollback takes one argument, such as pointnet:best")
    if alias is not None and ":" in alias:
        raise typer.BadParameter(f"the version comes first: registry alias {alias} {ref.rpartition(':')[2]}")
    registry = options.registry_at(home)
    if rollback:
        entry = registry.rollback(ref)
        if as_json:
            print_json(entry_document(entry))
        else:
            say(f"{entry.name}:{ref.rpartition(':')[2]} is {entry.ref}")
        return
    if remove and alias is None and ":" in ref:
        ref, _, alias = ref.rpartition(":")
    if alias is None:
        raise typer.BadParameter("give the alias, such as best, or --rollback")
    if remove:
        from registry.reference import parse

        name = parse(ref).name
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
