"""What tests do on purpose though its type is wrong."""

from __future__ import annotations

from typing import Any


def wrong(value: object) -> Any:
    """Return a value for a place that takes another type, where a test is about what becomes of it."""
    return value
