"""Errors of the demonstration."""

from __future__ import annotations

from registry.errors.root import RegistryError


class DemonstrationFailed(RegistryError):
    """One of the demonstration's own processes failed."""

    def __init__(self, folder: str, why: str) -> None:
        super().__init__(
            f"a training process of the demonstration failed ({why}); see that {folder} has room for 10 MB, or give "
            "another folder with --home, and run it again"
        )
