"""How figures grow, drawn: one panel for what they grow with, both scales in powers of ten. Plain SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from benchmarks.row import Row

_WIDTH, _HEIGHT = 460, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 32, 34, 44
_LEGEND = 18
_COLORS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#374151}.title{font-weight:600;font-size:13px}"
    ".grid{stroke:#d1d5db;stroke-width:1}.frame{fill:#fff}polyline{fill:none;stroke-width:2}"
)


def drawing(rows: Iterable[Row]) -> str:
    """Return an image of the rows that say how they grow."""
    panels: dict[str, list[Row]] = {}
    for row in rows:
        if row.growth:
            panels.setdefault(row.grows_with, []).append(row)
    most = max((len(shown) for shown in panels.values()), default=0)
    width, height = max(1, len(panels)) * _WIDTH, _HEIGHT + most * _LEGEND + 8
    drawn = [
        f'<g transform="translate({number * _WIDTH} 0)">{_panel(what, shown)}</g>'
        for number, (what, shown) in enumerate(panels.items())
    ]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            ' role="img">',
            f'<style>{_STYLE}</style><rect class="frame" width="{width}" height="{height}"/>',
            *drawn,
            "</svg>\n",
        )
    )


def _panel(what: str, rows: Sequence[Row]) -> str:
    series = [[(size, figure * (1000 if row.unit == "s" else 1)) for size, figure in row.growth] for row in rows]
    across = _Scale([size for points in series for size, _ in points], _LEFT, _WIDTH - _RIGHT)
    up = _Scale([figure for points in series for _, figure in points], _HEIGHT - _BOTTOM, _TOP)
    drawn = [_text(_LEFT, 20, f"milliseconds, by number of {what}", kind="title")]
    for value in across.powers:
        x = across.place(value)
        drawn += [_line(x, _TOP, x, _HEIGHT - _BOTTOM), _text(x, _HEIGHT - _BOTTOM + 18, f"{value:,.0f}", "middle")]
    for value in up.powers:
        y = up.place(value)
        drawn += [_line(_LEFT, y, _WIDTH - _RIGHT, y), _text(_LEFT - 8, y + 4, f"{value:,g}", "end")]
    for number, (row, points) in enumerate(zip(rows, series, strict=True)):
        color, y = _COLORS[number % len(_COLORS)], _HEIGHT + number * _LEGEND
        places = [(across.place(size), up.place(figure)) for size, figure in points]
        drawn.append(f'<polyline stroke="{color}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        drawn.append(f'<rect x="{_LEFT}" y="{y - 10}" width="12" height="12" rx="2" fill="{color}"/>')
        drawn.append(_text(_LEFT + 20, y, row.what.rpartition(", ")[0]))
    return "\n".join(drawn)


class _Scale:
    """Whole powers of ten around some values, on a line."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        self._first = math.floor(math.log10(min(values)))
        self._last = max(self._first + 1, math.ceil(math.log10(max(values)) - 1e-9))
        self._begin, self._end = begin, end

    @property
    def powers(self) -> list[float]:
        return [10.0**power for power in range(self._first, self._last + 1)]

    def place(self, value: float) -> float:
        share = (math.log10(value) - self._first) / (self._last - self._first)
        return self._begin + share * (self._end - self._begin)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
