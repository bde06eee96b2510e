"""``registry list``. The module is not called ``list``, which would hide the builtin from its siblings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import completion, options
from .models import models_table
from .rendering import ago, beside, count, entry_document, few, figures, print_json, say, size, table, warn, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry import Registry
    from registry.catalog.entry import Entry

_LIMIT = 50
_COLUMNS = ("version", "digest", "wrapper", "params", "size", "pushed", "aliases", "metrics", "tags", "attached")
_SPARE = ("digest", "wrapper", "params", "size", "attached", "tags", "pushed")


def list_versions(
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY",
            show_default=False,
            help="What they have: a model's name, 'acc>=0.9', class:NAME, tag:K=V, sort:-acc, ...",
            autocompletion=completion.queries,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            show_default=False,
            rich_help_panel=options.PAGING,
            help="Show at most N. [default: 50, and all with --json]",
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="TOKEN",
            rich_help_panel=options.PAGING,
            help="Continue after the page that gave this token.",
        ),
    ] = None,
    versions: Annotated[
        bool,
        typer.Option(
            "--versions",
            rich_help_panel=options.SELECTION,
            help="List every version, also where the table would have a row for each model.",
        ),
    ] = False,
    trash: Annotated[
        bool, typer.Option("--trash", rich_help_panel=options.SELECTION, help="What is in the trash instead.")
    ] = False,
    metric: Annotated[list[str] | None, typer.Option("--metric", hidden=True)] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List the stored versions, the newest first, or search them.

    All terms of a query hold. A comparison is quoted, since the shell would take '>' for itself; docs/search.md has the
    whole language. Without a query, the table has a row for each model.

    Example: registry list pointnet

    Example: registry list 'acc>=0.9' class:PointNet tag:task=seg sort:-acc
    """
    registry = options.registry_at(home)
    words = " ".join([*(query or ()), *(metric or ())])
    if not (words or limit or after or versions or trash or as_json):
        models = registry.models()
        if len(models) > 1:
            models_table(models)
            say("`registry list NAME` lists the versions of a model, `registry list --versions` all of them")
            return
    page = registry.list(words, trashed=trash, limit=limit or (None if as_json else _LIMIT), after=after)
    if as_json:
        print_json([entry_document(entry) for entry in page])
        if page.next:
            warn(f"--after {page.next} continues")
        return
    if not page:
        empty = "the trash is empty" if trash else "nothing is stored yet; `registry push FILE` stores a checkpoint"
        say(f"no version matches{_unknown_metric(registry, words, trash)}" if words or after else empty)
        return
    _table(page)
    if page.next:
        say(f"{len(page)} are shown; --limit shows more, and --after {page.next} the next")


def _unknown_metric(registry: Registry, words: str, trashed: bool) -> str:
    """Word which metric is compared that no version has, and which there are; nothing if each is there."""
    from registry.catalog.grammar import parse
    from registry.catalog.query import Order, Query
    from registry.errors import UnsortableBy

    asked = parse(words)
    names = tuple(term for term in asked.terms if term.field == "name")
    for condition in asked.conditions:
        try:
            registry.list(str(Query(names, order=Order(condition.key))), trashed=trashed, limit=1)
        except UnsortableBy as error:
            known = error.fields()["known"]
            return f": no version has the metric {condition.key}" + (f", but {few(known, 8)}" if known else "")
    return ""


def _table(entries: Sequence[Entry]) -> None:
    rows = [
        (
            entry.ref,
            entry.digest[:12],
            "" if entry.wrapper == "none" else entry.wrapper,
            count(entry.parameter_count),
            size(entry.byte_count),
            ago(entry.created_at),
            ",".join(entry.aliases),
            figures(entry.metrics),
            words(entry.tags),
            beside(entry),
        )
        for entry in entries
    ]
    table((_COLUMNS, *rows), right=("params", "size"), spare=_SPARE)
