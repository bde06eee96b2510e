"""How what the verbs return is shown in a notebook: as HTML, every text in it escaped; and words that others use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from registry.errors.root import few as few, shown

MOST_ROWS = 200
"""More are counted and not shown: a notebook keeps what it has shown."""

_STYLE = '"text-align:left;vertical-align:top"'


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table below a line of text; without rows, the line alone."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    heading = f"<p>{_cell(title)}</p>"
    if not cells:
        return heading
    head = _row("th", map(_cell, header))
    body = "".join(_row("td", row) for row in cells[:MOST_ROWS])
    rest = f"<p>and {len(cells) - MOST_ROWS:,} more</p>" if len(cells) > MOST_ROWS else ""
    return f"{heading}<table><thead>{head}</thead><tbody>{body}</tbody></table>{rest}"


def html_facts(title: str, facts: Mapping[str, object]) -> str:
    """Return what is known of a thing, line by line; what is empty is left out."""
    return html_table(title, ("", ""), [(name, value) for name, value in facts.items() if value not in ("", None)])


def figures(metrics: Mapping[str, float]) -> str:
    """Word metrics: ``acc=0.92 loss=0.3``."""
    return " ".join(f"{key}={value:g}" for key, value in metrics.items())


def words(tags: Mapping[str, str]) -> str:
    """Word tags: ``task=seg``."""
    return " ".join(f"{key}={value}" for key, value in tags.items())


def ago(moment: datetime) -> str:
    """Word how long ago something was."""
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return "just now"


def called(kind: object, *parts: str) -> str:
    """Return a short repr: ``<Entry net:v3 4be1c2a9d0e1 acc=0.92>``."""
    return shown(f"<{' '.join([type(kind).__name__, *(part for part in parts if part)])}>")


def _row(kind: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{kind} style={_STYLE}>{cell}</{kind}>' for cell in cells)}</tr>"


def _cell(value: object) -> str:
    from html import escape

    return escape(shown(str(value)))
