"""What became of a folder: one line for each file, and how many there are of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Verdict = Literal[
    "new",
    "same weights",
    "already there",
    "in the trash",
    "no weights",
    "no checkpoint",
    "damaged",
    "refused",
    "unreadable",
    "skipped",
]
"""``new``: a version of its own. ``same weights``: those of another version. ``already there``: this very file was
pushed before. ``in the trash``: so it was, and removed. ``no weights``: a file of torch without any, such as an
optimizer's. ``no checkpoint``: anything else. ``damaged``, ``refused`` (``reason`` says why), ``unreadable``: it could
not be taken. ``skipped``: a link, a hidden file, another registry's home."""

FAILURES: tuple[Verdict, ...] = ("damaged", "refused", "unreadable")


@dataclass(frozen=True, kw_only=True)
class ImportLine:
    """One file, or one folder that is a checkpoint."""

    path: str
    """From the folder that was imported."""
    verdict: Verdict
    name: str | None = None
    """The model's."""
    version: int | None = None
    """Its number; in a dry run the one that it would get."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What was found in the file."""
    saved_at: str | None = None
    """When it was written, ISO 8601 in UTC."""
    source_uri: str | None = None
    """Where it was published: ``"hf:owner/name@revision"``."""
    byte_count: int = 0
    """Of its weights."""
    reason: str = ""
    """One sentence: why it was not taken, or what it is instead."""
    code: str | None = None
    """The error's, where there was one: ``"damaged-checkpoint"``."""
    notices: tuple[str, ...] = ()
    """What a push has to say of it."""

    @property
    def ref(self) -> str | None:
        """The version that has its weights."""
        return f"{self.name}:v{self.version}" if self.version is not None else None

    @property
    def is_failure(self) -> bool:
        """Whether it may be a checkpoint and was not taken."""
        return self.verdict in FAILURES


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """A folder that was imported, or in a dry run what would come of it."""

    folder: Path
    lines: tuple[ImportLine, ...]
    """By path."""
    dry_run: bool

    @property
    def is_complete(self) -> bool:
        """Whether every checkpoint was taken."""
        return not self.failures

    @property
    def failures(self) -> tuple[ImportLine, ...]:
        """What may be a checkpoint and was not taken."""
        return tuple(line for line in self.lines if line.is_failure)

    @property
    def totals(self) -> dict[str, int]:
        """The number of lines of each verdict that there is."""
        return dict(Counter(line.verdict for line in self.lines))

    @property
    def models(self) -> dict[str, int]:
        """The number of versions that were added, by the model's name."""
        return dict(Counter(line.name for line in self.lines if line.verdict == "new" and line.name is not None))
