"""What is searched for: conditions on versions, joined by *and*, and an order. Plain values; ``grammar`` reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

FIELDS: Mapping[str, str] = {
    "class": "class:PointNet",
    "builder": "builder:timm",
    "wrapper": "wrapper:ddp",
    "dtype": "dtype:bfloat16",
    "tag": "tag:task=seg",
    "alias": "alias:best",
    "by": "by:ann",
    "after": "after:2026-11-01",
    "before": "before:2026-12-01",
    "digest": "digest:4be1",
    "parent": "parent:pointnet:v2",
    "base": "base:4be1",
    "kept": "kept:training",
    "run": "run:8f3c",
    "commit": "commit:1a2b3c4",
    "source": "source:best.pth",
    "note": "note:frozen",
    "sort": "sort:-acc",
}
"""The fields of a query, each with an example."""

COLUMNS: Mapping[str, str] = {
    "created": "created_at",
    "size": "byte_count",
    "params": "parameter_count",
    "epoch": "epoch",
    "step": "step",
}
"""What a sort may name besides a metric, each with the fact that it is."""

OPERATORS = (">=", "<=", ">", "<", "=")

_PLAIN_KEY = re.compile(r'[^\s"<>=!:*]+(:[^\s"<>=!:*]+)*')
_PLAIN_VALUE = re.compile(r'[^\s"]+')


@dataclass(frozen=True)
class Condition:
    """What a metric must be."""

    key: str
    operator: str
    """One of ``>=``, ``<=``, ``>``, ``<``, ``=``."""
    value: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value that fit."""
        low = high = self.value
        if self.operator in (">", ">="):
            low, high = (low if "=" in self.operator else math.nextafter(low, math.inf)), math.inf
        elif self.operator in ("<", "<="):
            low, high = -math.inf, (high if "=" in self.operator else math.nextafter(high, -math.inf))
        return low, high

    def __str__(self) -> str:
        is_plain = _PLAIN_KEY.fullmatch(self.key) and self.key.partition(":")[0] not in FIELDS
        return f"{self.key if is_plain else _quoted(self.key)}{self.operator}{self.value!r}"


@dataclass(frozen=True)
class Term:
    """What a field must be. In most, ``*`` stands for any characters."""

    field: str
    """One of ``FIELDS``, or ``"name"`` for a bare word."""
    value: str

    @property
    def is_pattern(self) -> bool:
        return "*" in self.value

    def __str__(self) -> str:
        if self.field == "name":
            return self.value
        return f"{self.field}:{self.value if _PLAIN_VALUE.fullmatch(self.value) else _quoted(self.value)}"


@dataclass(frozen=True)
class Order:
    """By what the versions are sorted; those that do not have it come last, whatever the direction."""

    by: str
    """A metric, or one of ``COLUMNS``."""
    is_metric: bool = True
    descending: bool = False

    def __str__(self) -> str:
        is_plain = not self.is_metric or (_PLAIN_VALUE.fullmatch(self.by) and self.by not in COLUMNS)
        sign = "-" if self.descending else "" if self.by[:1] not in "-+" or not is_plain else "+"
        return f"sort:{sign}{self.by if is_plain else _quoted(self.by)}"


@dataclass(frozen=True)
class Query:
    """All conditions hold; without an order, the newest come first."""

    terms: tuple[Term, ...] = ()
    conditions: tuple[Condition, ...] = ()
    order: Order | None = None

    @property
    def name(self) -> str | None:
        """The one model that it asks for, or None if it asks for none or for a pattern."""
        return next((term.value for term in self.terms if term.field == "name" and not term.is_pattern), None)

    def of(self, name: str) -> Query:
        """Return the same question about the model that is called so now, in the place of the one that it names."""
        named = Term("name", self.name or "")
        return replace(self, terms=tuple(Term("name", name) if term == named else term for term in self.terms))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it speaks of."""
        sorted_by = [self.order.by] if self.order and self.order.is_metric else []
        return tuple(dict.fromkeys([*(condition.key for condition in self.conditions), *sorted_by]))

    def __str__(self) -> str:
        """Return the text that reads as this query."""
        return " ".join(map(str, (*self.terms, *self.conditions, *([self.order] if self.order else []))))


def named(name: str | None) -> Query:
    """Return the query for the versions of a model, or of all."""
    return Query() if name is None else Query((Term("name", name),))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
