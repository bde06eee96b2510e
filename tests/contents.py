"""What a home holds, be there a registry or none yet."""

from __future__ import annotations

from pathlib import Path

from registry import Registry


def is_empty(hub: Registry) -> bool:
    """Whether nothing is stored: there is no registry, or one without a version."""
    return (isinstance(hub.address, Path) and not (hub.address / "registry.db").exists()) or not hub.list()
