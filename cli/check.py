"""``registry check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .rendering import number_of, print_json, say, table

if TYPE_CHECKING:
    from registry.loading.check import CheckReport

_FEW = 20


def check(
    a: Annotated[str, typer.Argument(metavar="A", help="A reference (pointnet:v3) or a path (./best.pth).")],
    b: Annotated[str, typer.Argument(metavar="B", help="What it should hold: a reference or a path.")],
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="PATTERN", help="Compare only these names: 'encoder.*'; may be repeated."),
    ] = None,
    weights: options.Weights = None,
    part: options.Part = None,
    every: Annotated[bool, typer.Option("--all", help="Show every tensor that differs.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Check whether two versions or files are equal, bit by bit.

    Each is a version or a file; a file is only read, whatever its wrapper, and nothing is stored. What begins with /,
    ./, ../ or ~ or ends in a checkpoint's suffix is a path, all else a reference. No class is built. Exit code 0 if
    they are equal, 1 if they differ.

    Example: registry check pointnet:v3 ./best.pth
    """
    report = options.registry_at(home).check(
        a, b, names=name or None, weights=options.parse_weights(weights), part=part
    )
    if as_json:
        print_json({"is_equal": report.is_equal, **vars(report)})
    else:
        rows = _rows(report)
        shown = rows[: None if every else _FEW]
        if shown:
            table((("tensor", "what", "type"), *shown))
        if len(rows) > len(shown):
            say(f"and {len(rows) - len(shown)} more; --all shows them")
        if report.wrappers_unmatched:
            say(f"not compared, since one side has no such wrapper: {', '.join(report.wrappers_unmatched[:_FEW])}")
        say(f"equal: {number_of(len(report.equal), 'tensor')}; different: {len(rows)}")
    if not report.is_equal:
        raise typer.Exit(1)


def _rows(report: CheckReport) -> list[tuple[str, str, str]]:
    """Return what differs: a name, how, and its types where they are not the same."""
    types = {name: " -> ".join(dict.fromkeys((here, against))) for name, (against, here) in report.types.items()}
    return [
        *((name, "differs", types.get(name, "")) for name in report.differs),
        *((name, f"only in {report.holder}", "") for name in report.missing),
        *((name, f"only in {report.against}", "") for name in report.unexpected),
        *((name, "of a wrapper, differs", "") for name in report.wrappers_differ),
        *((" = ".join(group), f"one tensor in {report.against} only", "") for group in report.retied),
    ]
