"""Warnings: what a verb did although somebody may not want it so."""

from __future__ import annotations

import sys
import warnings

from registry.errors.root import shown


def warn(text: str) -> None:
    """Warn at the line that called into this package, however deep in it that is known."""
    package, frame, level = __name__.partition(".")[0], sys._getframe(1), 2
    while frame.f_globals.get("__name__", "").partition(".")[0] == package and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(shown(text), stacklevel=level)
