"""What a copy did, or would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["copied", "changed", "already there", "in the trash"]


@dataclass(frozen=True)
class CopiedVersion:
    """What became of one version."""

    source: str
    """What it is called where it comes from."""
    ref: str
    """What it is called where it went to."""
    outcome: Outcome
    """``changed``: it was there, and got what was missing; ``in the trash``: it is there, and was left as it is."""
    added: tuple[str, ...] = ()
    """What it got, where it was there: ``"metric acc"``, ``"alias best"``, ``"note"``, ``"history"``."""
    notices: tuple[str, ...] = ()
    """Where the two differ, and which of them stays."""


@dataclass(frozen=True)
class CopyReport:
    """What a copy did, version by version, in the order in which they went."""

    place: str
    versions: tuple[CopiedVersion, ...]
    nbytes: int
    """Bytes of tensors that were moved: those that were there already are not."""
    dry_run: bool = False

    def of(self, *outcomes: Outcome) -> tuple[CopiedVersion, ...]:
        """Return the versions that became one of these."""
        return tuple(version for version in self.versions if version.outcome in outcomes)
