"""``registry card``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .rendering import print_json, say


def card(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")],
    file: Annotated[
        Path | None,
        typer.Option(
            "--set", metavar="FILE", help="Take this text, in Markdown, as the card; an empty one removes it."
        ),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show or set the card of a model: what its users should know.

    It is Markdown. A push of a folder takes its README.md for it. What the card was before stands in `registry log`.

    Example: registry card pointnet --set README.md
    """
    text = _read(file) if file is not None else None
    found = options.registry_at(home).card(name, text)
    if as_json:
        print_json({"name": name, "card": found})
    elif file is not None:
        say(f"{name} has {'this' if found else 'no'} card now")
    elif found is None:
        say(f"{name} has no card; registry card {name} --set README.md gives it one")
    else:
        for line in found.splitlines():
            say(line)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"--set {file} is not UTF-8 text") from error
    except OSError as error:
        raise typer.BadParameter(f"--set {file} cannot be read ({error.strerror})") from error
