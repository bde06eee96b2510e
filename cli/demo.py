"""``registry demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .rendering import print_json, say

if TYPE_CHECKING:
    from registry.demonstration.story import Outcome

FOLDER = Path("registry-demo")


def demo(
    home: Annotated[
        Path | None,
        typer.Option("--home", help="The folder of the demo's registry. [default: ./registry-demo]"),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Train a small PointNet under two DDP processes, save it both ways, and show what each way of loading makes of it.

    Example: registry demo
    """
    folder = (home or FOLDER).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    outcome = _play(folder, quiet=as_json)
    if as_json:
        print_json(outcome)
        return
    _tell(outcome, folder, time.monotonic() - begun)


def _play(folder: Path, quiet: bool) -> Outcome:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from registry.demonstration.story import play

    columns = (TextColumn("training under 2 DDP processes"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"))
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("", total=None)
        return play(folder, folder, lambda done, total: bar.update(task, completed=done, total=total))


def _tell(outcome: Outcome, folder: Path, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    say(f"trained: {outcome.trained:.1%} of the held-out clouds right, {outcome.tensors} tensors")
    table = Table("saved as", "loaded by", "accuracy", "tensors right")
    for row in outcome.rows:
        right = f"{row.tensors} of {outcome.tensors}"
        table.add_row(row.saved, row.loaded, f"{row.accuracy:.1%}", right)
    Console(width=None if Console().is_terminal else 110).print(table)
    first, second = outcome.entries
    same = "one digest" if first.digest == second.digest else "TWO DIGESTS"
    say(f"pushed from either file: {same}, {first.digest[:12]}, stored once as {first.ref}")
    say(f"the registry is in {folder} ({seconds:.0f} s)")
    say()
    say("try next:")
    say(f"  registry show {first.ref} --home {folder}")
    say(f"  registry inspect {folder / 'ddp.pth'} --from-ddp")
    say(f"  registry audit --home {folder}")
