"""``registry list``. The module is not called ``list``, which would hide the builtin from its siblings."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .rendering import ago, count, entry_document, figures, print_json, say, size, table


def list_versions(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this model.")] = None,
    limit: options.Limit = 50,
    trash: Annotated[bool, typer.Option("--trash", help="What is in the trash instead.")] = False,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="'acc>=0.9'", help="Only versions with such a figure."),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List the stored versions, the newest first.

    Example: registry list pointnet --metric 'acc>=0.9'
    """
    registry = options.registry_at(home)
    entries = registry.list(name, trashed=trash, limit=limit, metric=metric)
    if as_json:
        print_json([entry_document(entry) for entry in entries])
        return
    if not entries:
        empty = "the trash is empty" if trash else "nothing is stored yet; `registry push FILE` stores a checkpoint"
        say(empty if metric is None else "no version has such a figure")
        return
    rows = [
        (
            entry.ref,
            entry.digest[:12],
            entry.wrapper,
            count(entry.parameter_count),
            size(entry.byte_count),
            ago(entry.created_at),
            ",".join(entry.aliases),
            figures(entry.metrics),
        )
        for entry in entries
    ]
    header = ("version", "digest", "wrapper", "params", "size", "pushed", "aliases", "metrics")
    table((header, *rows), right=(3, 4))
    if len(entries) == limit:
        say(f"the newest {limit}; --limit shows more")
