"""What is printed: safe to show on any terminal, aligned, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry.canonical.unwrap import Unwrapping
    from registry.catalog.entry import Entry


def shown(text: str, *, keep_lines: bool = False) -> str:
    """Return a text that comes from users or files with everything escaped that could act on a terminal."""
    kept = "\n" if keep_lines else ""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def say(text: str = "") -> None:
    """Print a line, escaped where the output's encoding lacks a character."""
    encoding = sys.stdout.encoding or "utf-8"
    print(shown(text, keep_lines=True).encode(encoding, "backslashreplace").decode(encoding))


def warn(text: str) -> None:
    """Print a line on standard error."""
    print(shown(text, keep_lines=True), file=sys.stderr)


def print_json(document: Any) -> None:
    """Print one JSON document: ASCII, so that no terminal acts on what is in it."""
    print(json.dumps(document, default=_jsonable, indent=2))


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON has it."""
    return {"ref": entry.ref, **asdict(entry), "unwrapping": unwrapping_document(entry.unwrapping)}


def unwrapping_document(unwrapping: Unwrapping) -> dict[str, Any]:
    """Return an unwrapping as JSON has it."""
    return {
        "cuts": [asdict(cut) for cut in unwrapping.cuts],
        "doubts": list(unwrapping.doubts),
        "own": dict(unwrapping.own),
        "outside": list(unwrapping.outside),
        "absent": list(unwrapping.absent),
    }


def decision(unwrapping: Unwrapping, tensors: int, saved_as: str, wrapper: str) -> list[str]:
    """Word what was cut, on what evidence, and what stays in doubt."""
    lines = [f"cut {cut}" for cut in unwrapping.cuts[:8]]
    if len(unwrapping.cuts) > 8:
        lines.append(f"and {len(unwrapping.cuts) - 8} more cuts like these")
    if not unwrapping.cuts:
        trained = "" if wrapper == "none" else f" (trained under {wrapper}, saved {saved_as})"
        lines.append(f"nothing to cut: the names are bare{trained}")
    if unwrapping.own:
        lines.append(f"set aside {', '.join(unwrapping.own)}, which belongs to the wrapper")
    if unwrapping.doubts:
        first = ", ".join(f"`{path}`" for path in unwrapping.doubts[:3])
        more = f" and {len(unwrapping.doubts) - 3} more" if len(unwrapping.doubts) > 3 else ""
        lines.append(f"in doubt, kept: {first}{more}; --model, or --from with the wrappers, decides")
    lines.append(f"{tensors} tensors")
    return lines


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print rows in aligned columns; those numbered in ``right`` end at the same place."""
    cells = [[shown(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        padded = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say("  ".join(padded).rstrip())


def size(nbytes: int) -> str:
    """Word a number of bytes: ``1.3 GiB``."""
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{nbytes} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return ""


def count(number: int) -> str:
    """Word a large number: ``1.2M``."""
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if number >= limit:
            return f"{number / (1000 if unit == 'k' else limit):.1f}{unit}"
    return str(number)


def ago(moment: datetime) -> str:
    """Word how long ago something was."""
    seconds = max(0, int((datetime.now(timezone.utc) - moment).total_seconds()))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return "just now"


def local(moment: datetime) -> str:
    """Word a time in the local zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def figures(metrics: Any) -> str:
    """Word metrics: ``acc=0.92 loss=0.3``."""
    return " ".join(f"{key}={value:g}" for key, value in metrics.items())


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
