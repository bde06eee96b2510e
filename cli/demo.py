"""``registry demo``."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .progress import is_watched
from .rendering import print_json, say, table, warn

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
    """Train under DDP, save it both ways, load it every way.

    A small PointNet learns to tell bodies in point clouds under two DDP processes. A table then shows what the usual
    recipes and the registry make of the two files. It takes half a minute on two cores.

    Example: registry demo
    """
    folder = home or FOLDER
    begun = time.monotonic()
    outcome = _play(folder, quiet=as_json)
    if as_json:
        print_json({"is_as_promised": outcome.is_as_promised, "home": folder.absolute(), **vars(outcome)})
    else:
        _tell(outcome, folder, time.monotonic() - begun)
    if not outcome.is_as_promised:
        warn("registry: the registry did not give back the trained model; please report this with the output above")
        raise typer.Exit(1)


def _play(folder: Path, quiet: bool) -> Outcome:
    from registry.demonstration.story import STEPS, play

    if quiet or not is_watched():
        return play(folder.absolute(), lambda done: None)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    with bar:
        task = bar.add_task("starting", total=STEPS)
        return play(folder.absolute(), lambda done: bar.update(task, advance=1, description=done, refresh=True))


def _tell(outcome: Outcome, folder: Path, seconds: float) -> None:
    rows = [(row.saved, row.loaded, f"{row.accuracy:.1%}", f"{row.equal} of {outcome.tensors}") for row in outcome.rows]
    say(f"The trained model classifies {outcome.trained:.1%} of {outcome.clouds} held-out clouds correctly")
    say(f"(chance: {outcome.chance:.1%}). What comes back from each file, by each way of loading:")
    say()
    table((("saved as", "loaded by", "accuracy", "equal"), *rows), right=(2, 3))
    say()
    say("equal: tensors that match the trained model bit for bit; with ddp=True on both")
    say("ranks. The first two rows of each file load by hand, with strict=False.")
    first = outcome.entries[0]
    if outcome.is_one_digest:
        say(f"Pushed from either file, the digest is the same: {first.digest[:12]}, {first.ref}.")
    say(f"The registry and both files are in {folder.absolute()} ({seconds:.0f} s).")
    say()
    place = shlex.quote(str(folder))
    say("Try next:")
    say(f"  registry list --home {place}")
    say(f"  registry show pointnet:best --home {place}")
    say(f"  registry diff {outcome.halfway.ref} pointnet:best --home {place}")
    say(f"  registry inspect {shlex.quote(str(folder / 'ddp.pth'))} --from-ddp")
    say(f"  registry audit --home {place}")
