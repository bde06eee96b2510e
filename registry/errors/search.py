"""Errors of searching: a query that cannot be read, and a page that cannot be continued."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from registry.errors.catalog import quoted
from registry.errors.root import RegistryError, few


class InvalidQuery(RegistryError):
    """A query is malformed."""

    def __init__(self, query: str, position: int, why: str) -> None:
        """Word it.

        Args:
            position: index of the character in the query where reading stopped.
            why: what stands there, and what to write.
        """
        rest = query[position : position + 40].split("\n")[0].rstrip()
        place = f"at character {position + 1}, {quoted(rest, 30)}" if rest else "at its end"
        super().__init__(f"the query cannot be read {place}: {why}")
        self.position = position


class UnknownField(RegistryError):
    """A query asks for a field that versions do not have."""

    def __init__(self, query: str, position: int, field: str, value: str, fields: Sequence[str]) -> None:
        near = difflib.get_close_matches(field, fields, 1)
        if near:
            way = f"did you mean {near[0]}:{value}? "
        elif value:
            way = f"the versions of a model are `registry list {field}`, and one is `registry show {field}:{value}`; "
        else:
            way = f"a metric is compared, as in '{field}>=0.9'; "
        way += f"the fields are {', '.join(fields)}"
        super().__init__(
            f"the query cannot be read at character {position + 1}: there is no field {quoted(field)}; {way}"
        )
        self.position = position


class UnsortableBy(RegistryError):
    """A query sorts by a metric that no version has."""

    def __init__(self, metric: str, name: str | None, known: Sequence[str]) -> None:
        of = f"no version of {name}" if name is not None else "no version here"
        has = f"the metrics there are: {few([quoted(key) for key in known], 20)}" if known else "there are no metrics"
        super().__init__(
            f"{of} has the metric {quoted(metric)} to sort by; {has}; sort: also takes created, size, params, epoch "
            "and step"
        )


class UnusablePageToken(RegistryError):
    """A text is not the token of a page of this query."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the page token cannot be used: {why}; give the one that the page before came with, or none")
