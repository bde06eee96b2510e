"""``registry tag``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .rendering import entry_document, print_json, say, words


def tag(
    ref: options.Ref,
    tags: Annotated[list[str] | None, typer.Argument(metavar="K=V", help="Tags to set, such as task=seg.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="K", help="A tag to remove; may be repeated.")
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Set or remove tags of a version: words to search for later.

    Example: registry tag pointnet:v3 task=seg release=2026-11
    """
    if not tags and not remove:
        raise typer.BadParameter("give tags to set, such as task=seg, or --remove with one to remove")
    entry = options.registry_at(home).tag(ref, options.parse_tags(tags, "the tag"), remove=remove or ())
    if as_json:
        print_json(entry_document(entry))
        return
    for notice in entry.notices:
        say(notice)
    say(f"{entry.ref} has the tags {words(entry.tags)}" if entry.tags else f"{entry.ref} has no tags")
