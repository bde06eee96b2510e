"""``registry diff``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import completion, options
from .rendering import few, number_of, print_json, say, table

_FEW = 20


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="The version before.", autocompletion=completion.references)],
    b: Annotated[str, typer.Argument(metavar="B", help="The version after.", autocompletion=completion.references)],
    every: options.Every = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show which tensors differ between two versions.

    For each: the L2 norm of the difference, the same relative to the tensor before, and its largest element.

    Example: registry diff pointnet:v2 pointnet:v3
    """
    difference = options.registry_at(home).diff(a, b)
    if as_json:
        print_json(difference)
        return
    for ref, names in ((difference.a, difference.only_a), (difference.b, difference.only_b)):
        if names:
            say(f"only in {ref}: {few(names, len(names) if every else 8)}")
    rows = [
        (
            change.name,
            str(change.before) if change.before == change.after else f"{change.before} -> {change.after}",
            "" if change.norm is None else f"{change.norm:.4g}",
            "" if change.relative is None else f"{change.relative:.2%}",
            "" if change.largest is None else f"{change.largest:.4g}",
        )
        for change in difference.changed[: None if every else _FEW]
    ]
    if rows:
        table((("tensor", "type", "norm", "relative", "largest"), *rows), right=(2, 3, 4))
    if len(difference.changed) > len(rows):
        say(f"and {len(difference.changed) - len(rows)} more; --all shows them")
    equal, differ = number_of(difference.equal, "tensor"), number_of(len(difference.changed), "tensor")
    say(f"equal: {equal}; different: {differ}")
