"""What is printed: safe to show on any terminal, aligned, or one JSON document."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from registry.errors.root import few as few, shown as shown, size as size
from registry.tensors.arguments import Arguments

if TYPE_CHECKING:
    from registry.canonical.unwrap import Unwrapping
    from registry.catalog.entry import Entry


def say(text: str = "") -> None:
    """Print one line, escaped also where the output's encoding lacks a character.

    A line feed in a name or a note would otherwise begin a line that looks like one of ours.
    """
    encoding = sys.stdout.encoding or "utf-8"
    print(shown(text).encode(encoding, "backslashreplace").decode(encoding))


def warn(text: str) -> None:
    """Print a line on standard error."""
    print(shown(text, keep_lines=True), file=sys.stderr)


def print_json(document: Any) -> None:
    """Print one JSON document: ASCII, so that no terminal acts on what is in it."""
    print(json.dumps(_plain(document), indent=2, allow_nan=False))


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return an entry for ``print_json``, its reference first."""
    from registry.catalog.facts import Facts

    facts = {each.name for each in fields(Facts)}
    # What tells it apart first.
    names = sorted((each.name for each in fields(entry)), key=facts.__contains__)
    return {"ref": entry.ref, **{name: getattr(entry, name) for name in names}}


def decision(unwrapping: Unwrapping, tensors: int, saved_as: str, wrapper: str) -> list[str]:
    """Word what was cut, on what evidence, and what stays in doubt."""
    lines = [f"cut {cut}" for cut in unwrapping.cuts[:8]]
    if len(unwrapping.cuts) > 8:
        lines.append(f"and {len(unwrapping.cuts) - 8} more cuts like these")
    if not unwrapping.cuts:
        trained = "" if wrapper == "none" else f" (trained under {wrapper}, saved {saved_as})"
        lines.append(f"nothing to cut: the names are bare{trained}")
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


def table(rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print rows, the header among them, in aligned columns; those numbered in ``right`` end at the same place."""
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say("  ".join(padded).rstrip())


def count(number: int) -> str:
    """Word a large number: ``1.2M``."""
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if number >= limit:
            return f"{number / (1000 if unit == 'k' else limit):.1f}{unit}"
    return str(number)


def ago(moment: datetime) -> str:
    """Word how long ago something was."""
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return "just now"


def local(moment: datetime) -> str:
    """Word a time in the local zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def figures(metrics: Any) -> str:
    """Word metrics and what events say of them and of tags: ``acc=0.92 loss=0.3``; None is what was removed."""
    return " ".join(f"{key}={_figure(value)}" for key, value in metrics.items())


def words(tags: Mapping[str, str]) -> str:
    """Word tags: ``task=seg data=S3DIS``."""
    return ", ".join(f"{key}={value}" for key, value in tags.items())


def _figure(value: Any) -> str:
    return "removed" if value is None else f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _plain(value: Any) -> Any:
    """Return what JSON has for a value; it has no NaN and no infinity, which become the texts ``nan`` and ``inf``."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Arguments):
        return _plain(value.raw)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)
