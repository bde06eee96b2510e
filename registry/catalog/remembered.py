"""What was found out about a home and need not be found out again; none of it is in the trail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from registry.catalog import remembered_statements as statements
from registry.catalog.change import Change
from registry.catalog.database import Database
from registry.catalog.facts import canonical_json, storable


@dataclass(frozen=True)
class Audited:
    """What an audit said."""

    at: datetime
    """In UTC."""
    actor: str
    asked: str | None
    """The model or version that it was of; None of all."""
    versions: int
    """How many were checked."""
    faults: Mapping[str, Sequence[str]]
    """By reference: what is wrong, in sentences."""


class Remembered:
    """The findings of a home's catalog."""

    def __init__(self, database: Database, change: Callable[[], AbstractContextManager[Change]]) -> None:
        self._database = database
        self._change = change

    def statistics(self, digests: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return what the values of tensors are like (``tensors.statistics``), by digest, where somebody looked."""
        rows = self._database.rows(statements.STATISTICS, digests=json.dumps(list(digests)))
        read = ((row.digest, _read(row.body)) for row in rows)
        return {digest: found for digest, found in read if isinstance(found, dict)}

    def remember_statistics(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep what the values of tensors are like, by digest.

        Raises:
            HomeReadOnly: nothing can be kept here.
        """
        with self._change() as change:
            for digest, each in found.items():
                change.connection.run(statements.REMEMBER_STATISTICS, digest=digest, body=canonical_json(each))

    def last_audit(self, asked: Iterable[str]) -> Audited | None:
        """Return what the newest audit of all, or of one of these models or versions, said."""
        rows = self._database.rows(statements.LAST_AUDIT, asked=json.dumps(list(asked)))
        if not rows:
            return None
        row, faults = rows[0], _read(rows[0].faults)
        try:
            at = datetime.fromisoformat(row.at)
            told = {str(ref): [str(what) for what in sentences] for ref, sentences in faults.items()}
        except (TypeError, ValueError, AttributeError):
            return None  # somebody edited it: another audit says it again
        return Audited(at, row.actor, row.asked, row.versions, told)

    def remember_audit(self, asked: str | None, versions: int, faults: Mapping[str, Sequence[str]]) -> None:
        """Keep what an audit said.

        Raises:
            HomeReadOnly: nothing can be kept here.
        """
        told = {storable(ref): [storable(what) for what in sentences] for ref, sentences in faults.items()}
        with self._change() as change:
            change.connection.run(
                statements.REMEMBER_AUDIT,
                at=change.at,
                actor=change.actor,
                asked=asked,
                versions=versions,
                faults=canonical_json(told),
            )


def _read(text: str) -> Any:
    """Return what JSON says; None of what somebody edited, which is found out again."""
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
