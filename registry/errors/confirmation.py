"""Errors of comparing what a module or a file holds now with what was stored."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.canonical import some
from registry.errors.catalog import quoted
from registry.errors.root import RegistryError


class WeightsDiffer(RegistryError):
    """A module, or a file, does not hold what it was compared with."""

    def __init__(self, holder: str, against: str, faults: Sequence[tuple[str, Sequence[str]]], remedy: str) -> None:
        worded = "; ".join(f"{clause}: {some(names)}" for clause, names in faults)
        super().__init__(f"{holder} does not hold the weights of {against}: {worded}; {remedy}")
        self.names = tuple(name for _, names in faults for name in names)


class NothingToCheck(RegistryError):
    """A pattern matches no name, so that nothing would be compared."""

    def __init__(self, pattern: str, near: Sequence[str]) -> None:
        there = f"there are {some(near)}" if near else "there are no names at all"
        super().__init__(f"{quoted(pattern)} matches no name on either side; {there}")
