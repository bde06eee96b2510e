"""Unwrapping: which components of the names in a file a wrapper inserted, and how that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Evidence = Literal["class", "live", "declared", "assumed"]


@dataclass(frozen=True, slots=True)
class Cut:
    """One path component that a wrapper inserted."""

    path: str
    """In the names of the file, up to and with the component: ``"module"``, ``"features.module"``."""
    wrapper: str
    """Name of the wrapper's row in the table: ``"ddp"``; ``"prefix"`` for a container's attribute."""
    evidence: Evidence
    names: int
    """How many names go through it."""


@dataclass(frozen=True, slots=True)
class Unwrapping:
    """The cuts that lead from the names in the file to the canonical ones, and back."""

    cuts: tuple[Cut, ...] = ()
    doubts: tuple[str, ...] = ()
    """Paths in the file that could have been cut too, and were kept because nothing decided."""
    own: Mapping[str, Any] | None = None
    """The wrappers' own tensors, set aside (``n_averaged``): the name in the file to the encoded value."""
