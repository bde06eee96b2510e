"""Entries together, as a notebook shows them and as a data frame."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from registry.errors.upkeep import PandasMissing
from registry.notebook import called, few, figures, html_table, words

if TYPE_CHECKING:
    from registry.catalog.entry import Entry


class _Entries(Protocol):
    def __iter__(self) -> Iterator[Entry]: ...
    def __len__(self) -> int: ...


class Listing:
    """What a tuple of entries can do besides."""

    def to_frame(self: _Entries) -> Any:
        """Return a ``pandas.DataFrame`` with a row a version, in this order.

        Metrics and tags are columns of their own, ``metrics.acc`` and ``tags.task``; who lacks one has NaN or None.

        Raises:
            PandasMissing: pandas is not installed.
        """
        try:
            pandas: Any = import_module("pandas")
        except ImportError:
            raise PandasMissing from None
        return pandas.DataFrame([_row(entry) for entry in self], columns=_columns(self))

    def __repr__(self: _Entries) -> str:
        return called(self, f"of {len(self)}:" if len(self) else "of none", few([entry.ref for entry in self]))

    def _repr_html_(self: _Entries) -> str:
        rows = [
            (
                entry.ref,
                entry.digest[:12],
                f"{entry.parameter_count:,}",
                f"{entry.created_at:%Y-%m-%d %H:%M}",
                ", ".join(entry.aliases),
                figures(entry.metrics),
                words(entry.tags),
            )
            for entry in self
        ]
        header = ("version", "digest", "parameters", "pushed (UTC)", "aliases", "metrics", "tags")
        return html_table("1 version" if len(rows) == 1 else f"{len(rows):,} versions", header, rows)


_FACTS = (
    *("ref", "name", "version", "digest", "created_at", "wrapper", "model_class", "parameter_count", "byte_count"),
    *("epoch", "step", "run", "parent", "creator", "note"),
)


def _row(entry: Entry) -> dict[str, Any]:
    return {
        **{fact: getattr(entry, fact) for fact in _FACTS},
        "aliases": ", ".join(entry.aliases),
        **{f"metrics.{key}": value for key, value in entry.metrics.items()},
        **{f"tags.{key}": value for key, value in entry.tags.items()},
    }


def _columns(entries: _Entries) -> list[str]:
    metrics = sorted({f"metrics.{key}" for entry in entries for key in entry.metrics})
    tags = sorted({f"tags.{key}" for entry in entries for key in entry.tags})
    return [*_FACTS, "aliases", *metrics, *tags]
