"""Errors of taking a registry elsewhere."""

from __future__ import annotations

from registry.errors.root import RegistryError


class OtherRegistry(RegistryError):
    """A registry is to be moved to where another one is."""

    def __init__(self, source: str, target: str) -> None:
        super().__init__(
            f"{target} has a registry that is not a copy of {source}, or that was changed since it was one; move to an "
            "empty place, or take its versions over with `registry copy --all FOLDER`"
        )


class SamePlace(RegistryError):
    """A registry is to be moved to where it is."""

    def __init__(self, place: str) -> None:
        super().__init__(f"the registry is at {place} already; give the place that it shall be at")


class UnmovableRow(RegistryError):
    """A row of a catalog cannot be stored in another database."""

    def __init__(self, table: str, why: str) -> None:
        super().__init__(
            f"a row of the table {table} cannot be stored there ({why}); nothing was moved; `registry audit` says what "
            "was edited here"
        )


class NotTheSame(RegistryError):
    """What arrived of a registry is not what was sent."""

    def __init__(self, source: str, target: str) -> None:
        super().__init__(
            f"{target} does not say what {source} does, so nothing was moved; run `registry audit`, then try again"
        )
