"""What a home holds, be there a registry or none yet."""

from __future__ import annotations

from registry import Registry


def is_empty(hub: Registry) -> bool:
    """Whether nothing is stored: there is no registry, or one without a version."""
    return not hub._home.is_made or not hub.list()
