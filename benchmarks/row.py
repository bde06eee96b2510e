"""A row of the table: both sides, their ratio, and the goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from benchmarks.timing import median_ratio


@dataclass(frozen=True)
class Goal:
    """What the ratio has to be."""

    sense: Literal["at least", "at most"]
    value: float

    def met(self, ratio: float) -> bool:
        """Whether a ratio is good enough."""
        return ratio >= self.value if self.sense == "at least" else ratio <= self.value

    def __str__(self) -> str:
        return f"{self.sense} {self.value:g} times" + (" faster" if self.sense == "at least" else "")


def at_least(times_faster: float) -> Goal:
    """The other side's figure divided by ours."""
    return Goal("at least", times_faster)


def at_most(times: float) -> Goal:
    """Our figure divided by the other side's."""
    return Goal("at most", times)


@dataclass(frozen=True)
class Floor:
    """The part of our work that nothing can leave out, done by itself in the same rounds."""

    what: str
    figures: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One comparison, measured or skipped."""

    family: str
    what: str
    against: str
    goal: Goal
    unit: Literal["s", "ms", "MB"] = "s"
    ours: tuple[float, ...] = ()
    theirs: tuple[float, ...] = ()
    remark: str = ""
    """What else was seen, in words."""
    limit: str = ""
    """What the figure cannot go below, in words."""
    floor: Floor | None = None
    """The same, measured."""
    skipped: str = ""
    """Why it was not measured, in words."""
    growth: tuple[tuple[int, float], ...] = ()
    """Of what was measured at several sizes: each with its figure."""
    grows_with: str = ""
    """What the sizes count."""

    @property
    def ratio(self) -> float | None:
        """Median over the pairs; None where it was not measured."""
        return self._ratio_of(self.ours) if self.ours else None

    def _ratio_of(self, figures: Sequence[float]) -> float:
        """Return what the goal is about, for figures in the place of ours."""
        return median_ratio(*((self.theirs, figures) if self.goal.sense == "at least" else (figures, self.theirs)))

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where it was not measured."""
        return None if self.ratio is None else self.goal.met(self.ratio)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the table's line."""
        if self.ratio is None or self.met is None:
            return (self.what, self.against, "", "", "", str(self.goal), f"skipped: {self.skipped}")
        ours, theirs = (f"{median(side):.3g} {self.unit}" for side in (self.ours, self.theirs))
        verdict = "; ".join(filter(None, ("met" if self.met else "missed", self._above_floor, self.remark)))
        return (self.what, self.against, ours, theirs, f"{self.ratio:.3g}", str(self.goal), verdict)

    @property
    def _above_floor(self) -> str:
        if self.floor is None:
            return ""
        times, alone = median_ratio(self.ours, self.floor.figures), median(self.floor.figures)
        reached = "" if self.met else f", whose ratio is {self._ratio_of(self.floor.figures):.3g}"
        return f"{times:.2f} times {self.floor.what} ({alone:.3g} {self.unit}{reached})"

    def as_json(self) -> dict[str, Any]:
        """Return everything that is known of the row."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


HEADINGS = ("what", "against", "registry", "other", "ratio", "goal", "result")


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the table, and below it what limits each figure."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *(row.cells for row in rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    limits = dict.fromkeys(f"- {row.what}: {row.limit}" for row in rows if row.limit and row.ours)
    return "\n".join((table, "", "## What limits each figure", "", *limits)) if limits else table
