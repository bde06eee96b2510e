"""``registry annotate``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .rendering import entry_document, figures, print_json, say


def annotate(
    ref: options.Ref,
    metric: options.Metric = None,
    note: options.Note = "",
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="K", help="A metric to remove; may be repeated.")
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Add metrics and a note to a version, or remove a metric.

    What a changed metric was before is printed, and stays in `registry log`. A note is added below the one before.

    Example: registry annotate pointnet:v3 --metric acc=0.93 --note "measured on the whole test set"
    """
    if not metric and not note and not remove:
        raise typer.BadParameter("give --metric, --note or --remove")
    registry = options.registry_at(home)
    entry = registry.annotate(ref, metrics=options.parse_metrics(metric), note=note, remove=remove or ())
    if as_json:
        print_json(entry_document(entry))
        return
    for notice in entry.notices:
        say(notice)
    say(f"{entry.ref} has the metrics {figures(entry.metrics)}" if entry.metrics else f"{entry.ref} has no metrics")
    if note:
        say(f"note: {entry.note}")
