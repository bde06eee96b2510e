"""``registry import``. The module is not called ``import``, which is a keyword."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .progress import progress_bar
from .rendering import few, figures, number_of, print_json, say, table, warn

if TYPE_CHECKING:
    from registry.importing.report import ImportLine, ImportReport


def import_folder(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Everything in it and below it is looked at.")],
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Make all of it versions of one model. [default: models by names and shapes, named after the folder "
            "that their files share, else after the file]",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be stored.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Store every checkpoint of a folder, and report on each file.

    Files with the same canonical names and shapes are versions of one model, the oldest first. Metrics found in a file
    are kept with its version, and so is the file's date. A file that was pushed before is not stored again: to resume
    an interrupted import, repeat it. The exit code is 1 if a checkpoint could not be taken.

    Example: registry import ./old_checkpoints --dry-run
    """
    registry = options.registry_at(home)
    with progress_bar(f"importing {folder}", quiet=as_json) as progress:
        report = registry.import_folder(folder, name=name, dry_run=dry_run, progress=progress)
    if as_json:
        print_json(_document(report))
    else:
        _say(report)
    if not report.is_complete:
        raise typer.Exit(1)


def _say(report: ImportReport) -> None:
    if report.lines:
        rows = [
            (line.path, line.verdict, line.ref or "", figures(line.metrics), _remark(line)) for line in report.lines
        ]
        table((("file", "verdict", "version", "metrics", "note"), *rows), whole=("verdict", "version"))
    else:
        say("the folder is empty")
    notices: dict[str, list[str]] = {}
    for line in report.lines:
        for notice in line.notices:
            notices.setdefault(notice, []).append(line.path)
    for notice, paths in notices.items():
        say(f"{few(paths, 3)}: {notice}")
    models = report.models
    if models:
        stored = "would be stored" if report.dry_run else "stored"
        listed = ", ".join(f"{name} ({number})" for name, number in models.items())
        say(f"{stored}: {number_of(sum(models.values()), 'version')} of {number_of(len(models), 'model')}: {listed}")
    else:
        say("nothing new would be stored" if report.dry_run else "nothing new was stored")
    for line in report.failures:
        warn(f"{line.path}: {line.verdict}: {line.reason}")
    if report.failures:
        warn(f"registry: {number_of(len(report.failures), 'file')} could not be taken; the reasons stand above")


def _remark(line: ImportLine) -> str:
    """Word what a line has to say beside its version, where that is short; the reasons of failures stand below."""
    if line.verdict == "same weights":
        return f"same weights as v{line.version}"
    return "" if line.is_failure else line.reason


def _document(report: ImportReport) -> dict[str, Any]:
    from dataclasses import fields

    return {
        "folder": report.folder,
        "dry_run": report.dry_run,
        "is_complete": report.is_complete,
        "totals": report.totals,
        "models": report.models,
        "lines": [
            {"ref": line.ref, **{each.name: getattr(line, each.name) for each in fields(line)}} for line in report.lines
        ],
    }
