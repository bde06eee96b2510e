"""Charts as SVG, of plain shapes with classes: what they look like is the style sheet's, and dark mode with it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from html import escape

from markupsafe import Markup

_WIDTH, _HEIGHT = 720.0, 220.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 24.0, 12.0, 26.0
_STEPS = 4
"""Between ticks, at least."""


def sparkline(values: Sequence[float], label: str, width: int = 90, height: int = 24) -> Markup:
    """Draw how a metric went, without axes.

    Args:
        label: what it is, for who does not see it.
    """
    if not values:
        return Markup()
    at = _scale(values, height - 3.0, 3.0)
    step = (width - 6.0) / max(1, len(values) - 1)
    points = [(3.0 + step * i, at(value)) for i, value in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    words = escape(f"{label}: {values[0]:g} to {values[-1]:g} over {len(values)} versions")
    return Markup(
        f'<svg role="img" aria-label="{words}" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<polyline class="line" points="{path}"/><circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2"/></svg>'
    )


def line(points: Sequence[tuple[int, float, str]], label: str) -> Markup:
    """Draw a metric over versions: each point tells its value and leads to its version.

    The keyboard passes it by: the table of the versions says the same.

    Args:
        points: version numbers, values and URLs, in the order of the versions.
    """
    if not points:
        return Markup()
    numbers, values = [p[0] for p in points], [p[1] for p in points]
    across = _scale([float(n) for n in numbers], _LEFT, _WIDTH - _RIGHT)
    up = _scale(values, _HEIGHT - _BOTTOM, _TOP)
    path = " ".join(f"{across(n):.1f},{up(v):.1f}" for n, v, _ in points)
    ticks = "".join(
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up(v):.1f}" y2="{up(v):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{up(v) + 4:.1f}" text-anchor="end">{v:.4g}</text>'
        for v in _ticks(min(values), max(values))
    )
    ends = sorted({numbers[0], numbers[len(numbers) // 2], numbers[-1]})
    below = "".join(f'<text x="{across(n):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">v{n}</text>' for n in ends)
    dots = "".join(
        f'<a href="{escape(url)}" tabindex="-1"><circle class="dot" cx="{across(n):.1f}" cy="{up(v):.1f}" r="3.5" '
        f'data-value="v{n}: {v:.6g}"><title>v{n}: {v:.6g}</title></circle></a>'
        for n, v, url in points
    )
    return _chart(
        _HEIGHT, f"{label} over {len(points)} versions", f'{ticks}{below}<polyline class="line" points="{path}"/>{dots}'
    )


def histogram(counts: Sequence[int], low: float, high: float, label: str) -> Markup:
    """Draw how often the finite values occur between the smallest and the largest of them.

    Args:
        low: the smallest value, high: the largest; where one is infinite, that of the finite ones is not known.
    """
    most = max(counts, default=0)
    if not most:
        return Markup()
    height = 150.0
    is_finite = math.isfinite(low) and math.isfinite(high)
    least, largest = (f"{low:.4g}", f"{high:.4g}") if is_finite else ("smallest finite", "largest finite")
    step = (_WIDTH - _LEFT - _RIGHT) / len(counts)
    room = height - _TOP - _BOTTOM
    bars = []
    for i, number in enumerate(counts):
        tall = room * number / most
        # The halves do not overflow.
        begin = 2 * (low / 2 + (high / 2 - low / 2) * i / len(counts)) if is_finite else 0.0
        words = f"{number:,} from {begin:.4g}" if is_finite else f"{number:,}"
        bars.append(
            f'<rect class="bar" x="{_LEFT + step * i:.1f}" y="{height - _BOTTOM - tall:.1f}" width="{step * 0.9:.1f}" '
            f'height="{tall:.1f}" data-value="{words}"><title>{words}</title></rect>'
        )
    base = height - _BOTTOM
    ends = (
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>'
        f'<text x="{_LEFT}" y="{height - 8}">{least}</text>'
        f'<text x="{_WIDTH - _RIGHT}" y="{height - 8}" text-anchor="end">{largest}</text>'
        f'<text x="{_LEFT - 6}" y="{_TOP + 8}" text-anchor="end">{most:,}</text>'
    )
    return _chart(height, f"histogram of {label}", "".join(bars) + ends)


def outline(counts: Sequence[int], label: str, width: int = 110, height: int = 24) -> Markup:
    """Draw a histogram without axes."""
    most = max(counts, default=0)
    if not most:
        return Markup()
    step = width / len(counts)
    steps = "".join(f"V{height - (height - 2) * number / most:.1f}h{step:.2f}" for number in counts)
    return Markup(
        f'<svg role="img" aria-label="{escape(label)}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><path class="bar" d="M0,{height}{steps}V{height}z"/></svg>'
    )


def bars(rows: Sequence[tuple[str, float, str]], label: str, most: float = math.inf, longest: int = 42) -> Markup:
    """Draw one bar a row, the longest for the largest.

    Args:
        rows: names, lengths, and what is said of each.
        most: the length of the longest bar, where others stand beside these.
        longest: characters of the longest name there.
    """
    if not rows:
        return Markup()
    if not math.isfinite(most):
        most = max((value for _, value, _ in rows if math.isfinite(value)), default=0.0)
    most = most or 1.0
    longest = min(longest, 42)
    begin, tall = 24 + 6.7 * longest, 18.0
    drawn = []
    for i, (name, value, words) in enumerate(rows):
        top = tall * i
        long = (_WIDTH - begin - 90) * (min(1.0, value / most) if math.isfinite(value) else 1.0)
        short = name if len(name) <= 42 else f"…{name[-41:]}"
        drawn.append(
            f'<text x="{begin - 8}" y="{top + 13}" text-anchor="end">{escape(short)}'
            f"<title>{escape(name)}</title></text>"
            f'<rect class="bar" x="{begin}" y="{top + 3}" width="{max(long, 0.5):.1f}" height="{tall - 6}"/>'
            f'<text x="{begin + max(long, 0.5) + 6:.1f}" y="{top + 13}">{escape(words)}</text>'
        )
    return _chart(tall * len(rows) + 4, label, "".join(drawn))


def tree(nodes: Sequence[tuple[str, str | None, str]], here: str) -> Markup:
    """Draw what came from what: the ancestors below each other, and indented what came from ``here``.

    Args:
        nodes: texts, the text of each one's parent, and URLs; first the ancestors, the oldest first.
        here: the text of the node that the page is about.
    """
    at = [text for text, _, _ in nodes].index(here)
    shorts = [text if len(text) <= 48 else f"…{text[-47:]}" for text, _, _ in nodes]
    tall, wide = 34.0, 24 + 6.7 * max(map(len, shorts))
    place = {text: (12 + (row > at) * 34.0, 6 + row * tall) for row, (text, _, _) in enumerate(nodes)}
    parts = []
    for (text, parent, url), short in zip(nodes, shorts, strict=True):
        x, y = place[text]
        if parent in place:
            px, py = place[parent]
            to = f"V{y:.0f}" if px == x else f"V{y + 12:.0f} H{x:.0f}"
            parts.append(f'<path class="edge" d="M{px + 14:.0f},{py + 24:.0f} {to}"/>')
        kind, current = ("node here", ' aria-current="true"') if text == here else ("node", "")
        parts.append(
            f'<a href="{escape(url)}" aria-label="{escape(text)}"{current}>'
            f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{wide:.0f}" height="24" rx="5"/>'
            f'<text x="{x + 10:.0f}" y="{y + 16:.0f}">{escape(short)}<title>{escape(text)}</title></text></a>'
        )
    width = max(x for x, _ in place.values()) + wide + 12
    height = len(nodes) * tall + 8
    return Markup(
        f'<svg role="group" aria-label="lineage" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">{"".join(parts)}</svg>'
    )


def _chart(height: float, label: str, body: str) -> Markup:
    return Markup(
        f'<div class="chart"><output></output><svg role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {_WIDTH:.0f} {height:.0f}" preserveAspectRatio="xMinYMin meet">{body}</svg></div>'
    )


def _scale(values: Sequence[float], low: float, high: float) -> Callable[[float], float]:
    """Return the function that maps the smallest value to ``low`` and the largest to ``high``."""
    least, most = min(values), max(values)
    # The halves do not overflow.
    span = most / 2 - least / 2
    return lambda value: low + (high - low) * ((value / 2 - least / 2) / span if span else 0.5)


def _ticks(low: float, high: float) -> list[float]:
    if not high > low or not math.isfinite(high - low):
        return [low]
    raw = (high - low) / _STEPS
    if raw < sys.float_info.min:  # too near for a step between them
        return [low]
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw)
    first = math.ceil(low / step)
    return [step * i for i in range(first, first + _STEPS + 3) if low <= step * i <= high] or [low]
