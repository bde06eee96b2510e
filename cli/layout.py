"""How a table fits a terminal: pure functions from cells and a width to lines. Nothing is ever broken inside a word."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence

GAP = "  "
_LEAST = 12
"""Columns, at which a cell still says something."""


def wide(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for most characters of East Asia, none for accents."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """Return a text of at most that many columns; what is longer ends in an ellipsis."""
    if wide(text) <= width:
        return text
    kept = ""
    for letter in text:
        if wide(kept + letter) > width - len(ellipsis):
            break
        kept += letter
    return kept.rstrip() + ellipsis[: max(0, width)]


def filled(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns in which some row but the header, which is the first, has something."""
    return [at for at in range(len(rows[0])) if any(row[at] for row in rows[1:]) or len(rows) == 1]


def widths(
    rows: Sequence[Sequence[str]], most: int | None, whole: Collection[int] = (), spare: Sequence[int] = ()
) -> dict[int, int]:
    """Return the columns that are shown, each with its width; the first row is the header.

    Args:
        most: columns of the terminal; None where there is no limit.
        whole: those whose cells are cut last.
        spare: those that may be left out altogether where the others would say nothing, the first first.
    """
    wanted = {at: max(wide(row[at]) for row in rows) for at in filled(rows)}
    if most is None:
        return wanted
    least = {at: width if at in whole else min(width, max(_LEAST, wide(rows[0][at]))) for at, width in wanted.items()}
    for at in spare:
        if _together(least) <= most:
            break
        if len(least) > 1 and at in least:
            del least[at], wanted[at]
    _narrow(wanted, least, most)
    _narrow(wanted, dict.fromkeys(wanted, _LEAST // 2), most)
    return wanted


def _narrow(wanted: dict[int, int], least: Mapping[int, int], most: int) -> None:
    """Let the widest column give way, down to the next widest, until all fit or none can."""
    while (excess := _together(wanted) - most) > 0:
        giving = [at for at in wanted if wanted[at] > least[at]]
        if not giving:
            return
        widest = max(giving, key=wanted.__getitem__)
        others = [wanted[at] for at in giving if wanted[at] < wanted[widest]]
        wanted[widest] -= max(1, min(excess, wanted[widest] - max(least[widest], *others, 0)))


def _together(columns: dict[int, int]) -> int:
    return sum(columns.values()) + len(GAP) * (len(columns) - 1)


def padded(text: str, width: int, right: bool) -> str:
    """Return a text filled up with spaces."""
    space = " " * (width - wide(text))
    return space + text if right else text + space
