"""``registry prune``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .rendering import few, number_of, print_json, say, size, table


def prune(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model.")],
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", metavar="N", min=1, help="Keep the newest N versions.")
    ] = None,
    keep_best: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-best",
            metavar="METRIC:N[:min]",
            help="Keep the N versions with the highest metric, or with :min the lowest; may be repeated.",
        ),
    ] = None,
    keep_aliased: Annotated[
        bool, typer.Option("--keep-aliased", help="Keep what an alias points to, and as the only rule nothing else.")
    ] = False,
    keep_tag: Annotated[
        list[str] | None,
        typer.Option("--keep-tag", metavar="K[=V]", help="Keep the versions with this tag; may be repeated."),
    ] = None,
    keep_within: Annotated[
        str | None, typer.Option("--keep-within", metavar="TIME", help="Keep what was pushed in the last 30d, 12h, 2w.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this, show what would be removed.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Put the versions that no rule keeps into the trash.

    Without --yes it only shows which. A version stays if one of the rules keeps it. The newest version stays in any
    case, and so does what an alias points to, and the parents and bases of what stays. More of a metric is better
    unless the rule ends in :min; the metric's name says nothing about that. `registry restore` takes versions back
    until `registry gc` empties the trash.

    Example: registry prune pointnet --keep-last 5 --keep-best acc:3 --keep-best loss:3:min
    """
    report = options.registry_at(home).prune(
        name,
        keep_last=keep_last,
        keep_best=keep_best or (),
        keep_aliased=keep_aliased,
        keep_tags=keep_tag or (),
        keep_within=keep_within,
        dry_run=not yes,
    )
    if as_json:
        print_json(report)
        return
    goes = "would go" if report.dry_run else "trashed"
    fates = {**{kept.ref: few(kept.reasons, 4) for kept in report.kept}, **dict.fromkeys(report.removed, "no rule")}
    gone = set(report.removed)
    rows = [
        (ref, goes if ref in gone else "stays", fates[ref])
        for ref in sorted(fates, key=lambda ref: -int(ref.rpartition(":v")[2]))
    ]
    table((("version", "", "why"), *rows))
    for notice in report.notices:
        say(notice)
    if not gone:
        say("nothing to put into the trash")
        return
    versions, freed = number_of(len(gone), "version"), size(report.nbytes)
    if report.dry_run:
        say(f"{versions} would go into the trash, of which `registry gc` would free {freed}; --yes does it")
    else:
        say(f"{versions} put into the trash; `registry restore` takes them back")
        say(f"`registry gc` frees {freed} after the grace period; see its --grace")
