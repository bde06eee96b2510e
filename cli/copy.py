"""``registry copy``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .progress import progress_bar
from .rendering import number_of, print_json, say, size, table


def copy(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="REF... PLACE",
            help="What to copy: references (a bare NAME is all its versions), or bundles to take in. The last is where "
            "to: a folder, written with a / or as ., or a file that ends in .bundle. One bundle alone is taken into "
            "this registry.",
        ),
    ],
    everything: Annotated[bool, typer.Option("--all", help="Copy all versions of this registry.")] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Keep them under this name there, not their own.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Where metrics, tags, notes or aliases differ, take those of the source.")
    ] = False,
    without_base: Annotated[
        bool, typer.Option("--without-base", help="Leave the weights out that the versions are adapters of.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be copied; copy nothing.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Copy versions to another registry, into a bundle, or out of one.

    Everything that belongs to them goes along. What is there already is recognized, and not copied again. A number
    that is taken there becomes the next one. Metrics, tags, notes and aliases that are missing there are added;
    where both differ, those there stay.

    Example: registry copy pointnet:best ./for-anna.bundle
    """
    is_taken_in = len(words) == 1 and words[0].endswith(".bundle") and not everything
    refs, place = (words, None) if is_taken_in else (words[:-1], words[-1])
    if everything and refs:
        raise typer.BadParameter("give references, or --all, and then the place")
    if not everything and not refs:
        raise typer.BadParameter(_incomplete(str(place)))
    with progress_bar("copying", quiet=as_json) as progress:
        report = options.registry_at(home).copy(
            None if everything else refs,
            place,
            name=name,
            update=update,
            without_base=without_base,
            dry_run=dry_run,
            progress=progress,
        )
    if as_json:
        print_json(report)
        return
    rows = [
        (
            version.source if version.ref == version.source else f"{version.source} → {version.ref}",
            f"added {', '.join(version.added)}" if version.outcome == "changed" else version.outcome,
        )
        for version in report.versions
    ]
    table(rows)
    for version in report.versions:
        for notice in version.notices:
            say(f"{version.ref}: {notice}")
    copied = number_of(len(report.of("copied")), "version")
    say(f"{'would copy' if dry_run else 'copied'} {copied}, {size(report.nbytes)}, to {report.place}")


def _incomplete(word: str) -> str:
    """Word what is missing where one argument was given that is not a bundle."""
    if word.endswith("/") or word in (".", ".."):
        return f"say what to copy to {word}: a reference such as pointnet:best before it, or --all"
    return f"say where to copy {word}: add a folder such as ./models/ or a file such as {word.partition(':')[0]}.bundle"
