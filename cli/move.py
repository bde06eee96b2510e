"""``registry move``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .progress import progress_bar
from .rendering import number_of, print_json, say, size


def move(
    to: Annotated[
        Path,
        typer.Option(
            "--to", metavar="FOLDER", help="The other registry's folder, or its registry.toml (`registry init`)."
        ),
    ],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Move the whole registry to another home, with its history.

    Nothing is deleted here; what stays refuses changes, and this folder leads to the other one from then on.
    Interrupted, the same command goes on.

    Example: registry move --to /srv/team-registry/registry.toml
    """
    with progress_bar("moving", quiet=as_json) as progress:
        report = options.registry_at(home).move(to, progress=progress)
    if as_json:
        print_json(report)
        return
    copied = f"{number_of(report.blobs, 'file')}, {size(report.nbytes)}, copied"
    say(f"moved {number_of(report.versions, 'version')} to {report.target} ({report.catalog}); {copied}")
    say(f"what is left in {report.source} is not changed any more; delete it when you need it no longer")
