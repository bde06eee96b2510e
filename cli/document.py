"""Standard output under ``--json``: one document, and nothing else there, whatever a class or a library prints."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

import typer

_STDOUT, _STDERR = 1, 2

_kept: list[TextIO] = []
"""What the document goes to, where standard output was turned to standard error."""


def begin(ctx: typer.Context, wanted: bool) -> bool:
    """Keep standard output for a document, if one is wanted: what else is printed there goes to standard error.

    So does what is written to the descriptor, by C code and by child processes.
    """
    if wanted and not ctx.resilient_parsing:
        _kept[:] = [_set_aside(sys.stdout)]
        sys.stdout = sys.stderr
    return wanted


def is_wanted(words: list[str]) -> bool:
    """Whether a command line asks for a document; also one that cannot be read, which begins none."""
    return "--json" in words[: words.index("--") if "--" in words else None]


def write(document: Any) -> None:
    """Write the document: in ASCII, so that no terminal acts on what is in it."""
    print(json.dumps(document, indent=2, allow_nan=False), file=_kept[0] if _kept else sys.stdout, flush=True)


def forget() -> None:
    """Begin anew, in a process that runs several commands."""
    _kept.clear()


def _set_aside(stream: TextIO) -> TextIO:
    """Return a stream to where one goes, and let its descriptor, if it has that of standard output, go elsewhere."""
    try:
        stream.flush()
        if stream.fileno() != _STDOUT:
            return stream
        aside = os.fdopen(os.dup(_STDOUT), "w", encoding="ascii")
        os.dup2(_STDERR, _STDOUT)
    except OSError:  # no descriptor at all, or no standard error
        return stream
    return aside
