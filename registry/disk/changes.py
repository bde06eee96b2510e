"""Whether this process has begun to make a change of a home last: what an interrupted command may say of itself."""

from __future__ import annotations

_begun = False


def begin() -> None:
    """Say, before a change is made to last, that it may be from now on, whatever interrupts it."""
    global _begun
    _begun = True


def has_begun() -> bool:
    """Whether a change may have been made to last."""
    return _begun
