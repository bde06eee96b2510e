"""What a shell completes: models, references, aliases, formats. Quickly, without torch, and never with an error."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from registry.catalog.catalog import Catalog

ENVIRONMENT = "_REGISTRY_COMPLETE"
"""What typer's shell scripts set, to ask for completions instead of running the command."""

_MOST = 40
_BREAKS = (":", "=")
"""Characters at which bash begins another word."""

_before: list[str] = []
"""What of the word that is typed bash takes for words before it, and does not replace."""


def wanted_command(words: list[str]) -> str | None:
    """Return the command whose arguments are to be completed, or that is to be run: the others need no import."""
    if ENVIRONMENT not in os.environ:
        return words[0] if words else None
    typed = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()
    return typed[1] if len(typed) > 1 else None


def mend_words() -> None:
    """Put together what bash takes apart at each ``:`` and ``=``: ``pointnet : be`` is one word for us."""
    if not os.environ.get(ENVIRONMENT, "").endswith("bash") or "COMP_WORDS" not in os.environ:
        return
    words, current = os.environ["COMP_WORDS"].split("\n"), int(os.environ.get("COMP_CWORD", "0"))
    mended, last, before = joined(words, current)
    _before[:] = [before]
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join([*mended, last]), str(len(mended))


def joined(words: list[str], current: int) -> tuple[list[str], str, str]:
    """Return the whole words before the one that is typed, of this one what bash replaces, and what is before that."""
    pieces: list[list[str]] = []
    for at, word in enumerate([*words, *[""] * (current + 1 - len(words))][: current + 1]):
        if at > 1 and (word in _BREAKS or words[at - 1] in _BREAKS):
            pieces[-1].append(word)
        else:
            pieces.append([word])
    *others, typed = pieces
    last = "" if typed[-1] in _BREAKS else typed[-1]
    return ["".join(each) for each in others], last, "".join(typed).removesuffix(last)


def _quietly(find: Callable[[typer.Context, str], Iterable[str]]) -> Callable[[typer.Context, str], list[str]]:
    """Return what fits what was typed, or nothing where anything is wrong: a shell is no place to say it."""

    @functools.wraps(find)
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
                typed = "".join(_before) + incomplete
                return [text.removeprefix("".join(_before)) for text in find(ctx, typed) if text.startswith(typed)]
        except Exception:
            return []

    return complete


@_quietly
def models(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Complete a model's name."""
    with _catalog(ctx) as catalog:
        yield from catalog.names()


@_quietly
def references(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Complete a reference: a name, then its aliases and its newest versions."""
    name, colon, _ = incomplete.partition(":")
    with _catalog(ctx) as catalog:
        if not colon:
            yield from catalog.names()
            return
        yield from (f"{name}:{alias}" for alias in catalog.aliases(name))
        yield from (entry.ref for entry in catalog.entries(name, limit=_MOST))


@_quietly
def aliases(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Complete an alias: those of the model that was named, or of all."""
    ref = str(ctx.params.get("ref") or "").partition(":")[0].partition("@")[0]
    with _catalog(ctx) as catalog:
        yield from dict.fromkeys(["best", "last", *catalog.aliases(ref or None)])


@_quietly
def queries(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Complete a term of a query: a model's name or a field."""
    from registry.catalog.query import COLUMNS, FIELDS

    field, colon, _ = incomplete.partition(":")
    if colon and field == "sort":
        yield from (f"sort:{sign}{column}" for sign in ("", "-") for column in COLUMNS)
        return
    with _catalog(ctx) as catalog:
        if colon and field == "alias":
            yield from (f"alias:{alias}" for alias in dict.fromkeys(catalog.aliases(None)))
        elif not colon:
            yield from catalog.names()
            yield from (f"{each}:" for each in FIELDS)


@_quietly
def formats(ctx: typer.Context, incomplete: str) -> tuple[str, ...]:
    """Complete a format of ``export``."""
    return ("safetensors", "pth", "ddp", "compile", "as-saved", "hf")


@contextlib.contextmanager
def _catalog(ctx: typer.Context) -> Iterator[Catalog]:
    """Open the catalog of the home; one that is not there, or that a migration would change, is left alone."""
    from registry.catalog.catalog import Catalog
    from registry.home.home import Home
    from registry.home.place import home_place

    given: Any = ctx.params.get("home")
    home = Home(home_place(given).folder)
    place = home.configuration.address() or home.folder
    if not Catalog.can_be_read(place):
        raise FileNotFoundError(place)
    catalog = Catalog(place)
    try:
        yield catalog
    finally:
        catalog.close()
