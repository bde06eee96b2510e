"""``registry gc``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .progress import progress_bar
from .rendering import number_of, print_json, say, size


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted; delete nothing.")] = False,
    grace: Annotated[
        str, typer.Option("--grace", metavar="TIME", help="Keep what was put into the trash more recently: 7d, 12h.")
    ] = "7d",
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Empty the trash and delete files that no version needs.

    Example: registry gc --dry-run
    """
    registry = options.registry_at(home)
    with progress_bar("deleting", quiet=as_json) as progress:
        collected = registry.gc(dry_run=dry_run, grace=options.parse_duration(grace), progress=progress)
    if as_json:
        print_json(collected)
        return
    for ref in collected.versions:
        say(f"{'would delete' if dry_run else 'deleted'} {ref}")
    verb = "would free" if dry_run else "freed"
    files, versions = number_of(len(collected.files), "file"), number_of(len(collected.versions), "version")
    say(f"{verb} {size(collected.nbytes)} in {files}, {versions}")
    if collected.kept:
        stay = "stays" if collected.kept == 1 else "stay"
        say(f"{number_of(collected.kept, 'version')} in the trash for less than {grace} {stay}; see --grace")
