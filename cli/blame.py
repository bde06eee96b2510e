"""``registry blame``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .rendering import number_of, print_json, say, table


def blame(
    ref: options.Ref,
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help="Only tensors with such names: 'encoder.*'.")
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show which version introduced each tensor, along the parents.

    That is the oldest of them that has the same values under the same name. A module all of whose tensors come from
    one version is one line; --json has every tensor.

    Example: registry blame pointnet:v9 'encoder.*'
    """
    report = options.registry_at(home).blame(ref, pattern)
    if as_json:
        print_json(report)
        return
    rows = [(name, introduced, str(count)) for name, introduced, count in report.groups()]
    table((("tensors", "introduced by", "number"), *rows), right=(2,))
    say(f"{number_of(len(report.chain), 'version')} along the parents, {report.chain[0]} to {report.chain[-1]}")
    if report.end:
        say(f"they end there: {report.end}")
