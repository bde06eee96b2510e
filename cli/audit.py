"""``registry audit``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .progress import progress_bar
from .rendering import number_of, print_json, say, size, warn


def audit(
    ref: Annotated[
        str | None, typer.Argument(metavar="REF", help="Only this version or name. [default: everything]")
    ] = None,
    classes: Annotated[
        bool, typer.Option("--classes", help="Also import and build the classes that are trusted, and compare names.")
    ] = False,
    run: Annotated[
        bool, typer.Option("--run", help="Also run every example of a trusted class and compare what it computes.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Restore what another copy or a source has; quarantine the rest.")
    ] = False,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="FILE", help="A file that was pushed once, for --repair; may be repeated."),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Check every byte and row, and the trail.

    Damage is named, version by version, and the exit code is then 1. No class is imported
    without --classes or --run.

    Example: registry audit pointnet
    """
    if source and not repair:
        raise typer.BadParameter("--source is for --repair")
    registry = options.registry_at(home)
    with progress_bar("checking", quiet=as_json) as progress:
        report = registry.audit(ref, classes=classes, run=run, repair=repair, sources=source or (), progress=progress)
    if as_json:
        print_json({"is_clean": report.is_clean, "bad_references": report.bad_references, **vars(report)})
    else:
        for line in report.repaired:
            say(line)
        for fault in report.faults:
            say(f"{fault.ref}: {fault.what}")
        for line in report.notes:
            warn(line)
        for line in report.unchecked_classes:
            warn(f"class not checked: {line}")
        for line in report.unchecked_outputs:
            warn(f"outputs not checked: {line}")
        checked = f"{number_of(report.versions, 'version')}, {number_of(report.tensors, 'stored tensor')}"
        checked += f", {size(report.nbytes)} checked"
        if run:
            checked += f", {number_of(report.examples, 'example')} run"
        misfits = dict.fromkeys(fault.ref for fault in report.faults if fault.kind == "class")
        damaged = dict.fromkeys(fault.ref for fault in report.faults if fault.kind != "class")
        checked += f"; damaged: {', '.join(damaged)}" if damaged else ": no damage found"
        say(f"{checked}; not as their class is: {', '.join(misfits)}" if misfits else checked)
        if report.classes_left:
            left = "1 class" if report.classes_left == 1 else f"{report.classes_left} classes"
            say(f"{left} not checked; --classes imports and builds {'it' if report.classes_left == 1 else 'them'}")
    if not report.is_clean:
        raise typer.Exit(1)
