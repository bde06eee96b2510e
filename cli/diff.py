"""``registry diff``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .rendering import print_json, say, table


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="The version before.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The version after.")],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show which tensors differ between two versions, and by how much.

    Example: registry diff pointnet:v2 pointnet:v3
    """
    difference = options.registry_at(home).diff(a, b)
    if as_json:
        print_json(difference)
        return
    for ref, names in ((difference.a, difference.only_a), (difference.b, difference.only_b)):
        for name in names:
            say(f"only in {ref}: {name}")
    rows = [
        (
            change.name,
            str(change.before) if change.before == change.after else f"{change.before} -> {change.after}",
            "" if change.norm is None else f"{change.norm:.4g}",
            "" if change.relative is None else f"{change.relative:.2%}",
            "" if change.largest is None else f"{change.largest:.4g}",
        )
        for change in difference.changed
    ]
    if rows:
        table(("tensor", "type", "norm", "relative", "largest"), rows, right=(2, 3, 4))
    say(f"{difference.equal} tensors are equal, {len(difference.changed)} differ")
