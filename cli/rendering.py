"""What is printed: safe to show on any terminal, aligned, or one JSON document."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from registry.errors.root import few as few, shown as shown, size as size
from registry.notebook import ago as ago, figures as figures, words as words

from . import layout
from .document import write

if TYPE_CHECKING:
    from registry.canonical.unwrap import Unwrapping
    from registry.catalog.entry import Entry


BOLD, DIM = "1", "2"
"""Styles, as ANSI numbers them."""


def say(text: str = "", head: str = "") -> None:
    """Print one line, escaped also where the output's encoding lacks a character.

    A line feed in a name or a note would otherwise begin a line that looks like one of ours.

    Args:
        head: a word before it, in bold on a terminal.
    """
    _write(f"{styled(head, BOLD)}  {shown(text)}" if head else shown(text))


def warn(text: str) -> None:
    """Print a line on standard error."""
    print(shown(text, keep_lines=True), file=sys.stderr)


def print_json(document: Any) -> None:
    """Print the one JSON document of a command."""
    from registry.catalog.documents import plain

    write(plain(document))


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return an entry for ``print_json``, its reference first."""
    from registry.catalog import documents

    return documents.entry_document(entry)


def decision(unwrapping: Unwrapping, tensors: int, saved_as: str, wrapper: str) -> list[str]:
    """Word what was cut, on what evidence, and what stays in doubt."""
    lines = [f"cut {cut}" for cut in unwrapping.cuts[:8]]
    if len(unwrapping.cuts) > 8:
        lines.append(f"and {len(unwrapping.cuts) - 8} more cuts like these")
    if not unwrapping.cuts:
        trained = "" if wrapper == "none" else f" (trained under {wrapper}, saved {saved_as})"
        said = "nothing cut: the names stay, as was said" if unwrapping.single else "nothing to cut: the names are bare"
        lines.append(said + trained)
    if own := [*unwrapping.own, *unwrapping.set_aside]:
        lines.append(f"set aside {few(own)}, which belong{'s' if len(own) == 1 else ''} to the wrapper")
    if unwrapping.doubts:
        doubts = few([f"`{path}`" for path in unwrapping.doubts], 3)
        lines.append(f"in doubt, kept: {doubts}; --model, or --from with the wrappers, decides")
    lines.append(number_of(tensors, "tensor"))
    return lines


def number_of(number: int, noun: str) -> str:
    """Word a number of things: ``1 file``, ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def table(
    rows: Iterable[Sequence[str]],
    right: Collection[str | int] = (),
    whole: Collection[str] = ("version", "digest", "when", "pushed"),
    spare: Sequence[str] = (),
    dim: Collection[str] = ("digest",),
    head: bool = True,
) -> None:
    """Print rows in aligned columns, without those that nobody filled.

    On a terminal long cells are cut until a row fits its width; what is piped is whole.

    Args:
        rows: the header among them.
        right: columns that end at the same place, by their number or their word in the header.
        whole: columns that are cut last; those at the right are, too.
        spare: columns to leave out where a narrow terminal has no room, the first first.
        dim: columns that stand back.
        head: whether the first row is a header.
    """
    cells = [[shown(cell) for cell in row] for row in rows]
    names = list(cells[0]) if head else []

    def numbers(columns: Iterable[str | int]) -> list[int]:
        return [
            names.index(each) if isinstance(each, str) else each
            for each in columns
            if isinstance(each, int) or each in names
        ]

    if not head:
        cells.insert(0, [""] * len(cells[0]))
    most = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    at_right, standing_back = numbers(right), numbers(dim)
    columns = layout.widths(cells, most, [*numbers(whole), *at_right], numbers(spare))
    for number, row in enumerate(cells if head else cells[1:]):
        line = []
        for at, width in columns.items():
            text = layout.cut(row[at], width, _ellipsis())
            if at in at_right or at != max(columns):
                text = layout.padded(text, width, at in at_right)
            line.append(styled(text, BOLD if head and number == 0 else DIM if at in standing_back else ""))
        _write(layout.GAP.join(line).rstrip())


def styled(text: str, style: str) -> str:
    """Return a text in a style, where it goes to a terminal and nobody objects to colors."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and text.strip() and _has_styles() else text


def _has_styles() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _ellipsis() -> str:
    try:
        "…".encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return "..."
    return "…"


def _write(line: str) -> None:
    """Print a line of which everything is shown already."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding))


def count(number: int) -> str:
    """Word a large number: ``1.2M``."""
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if number >= limit:
            return f"{number / (1000 if unit == 'k' else limit):.1f}{unit}"
    return str(number)


def local(moment: datetime) -> str:
    """Word a time in the local zone; at the ends of the calendar there may be none."""
    with contextlib.suppress(OverflowError, ValueError):
        moment = moment.astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S %z")


def beside(entry: Entry) -> str:
    """Word what a version has besides one model's weights: ``parts point + img, epoch 3, step 1200, training``."""
    models = [f"parts {' + '.join(part.part for part in entry.parts)}"] if entry.parts else []
    counted = [f"{name} {value}" for name, value in (("epoch", entry.epoch), ("step", entry.step)) if value is not None]
    return ", ".join([*models, *counted, *entry.attachments])


def figure(value: Any) -> str:
    """Word a metric or a tag as an event has it; None is one that was removed."""
    return "removed" if value is None else f"{value:g}" if isinstance(value, (int, float)) else str(value)
