"""Errors of writing a version to a file."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.root import RegistryError


class UnknownFormat(RegistryError):
    """There is no such export format."""

    def __init__(self, given: str, known: Sequence[str]) -> None:
        super().__init__(f"'{given}' is not a valid export format; give one of {', '.join(known)}")


class CannotExport(RegistryError):
    """The file cannot be written."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot export to {path}: {why}")
