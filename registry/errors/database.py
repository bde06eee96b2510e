"""Errors of a catalog that is a PostgreSQL database. None of them shows a password."""

from __future__ import annotations

from registry.errors.catalog import ELSEWHERE
from registry.errors.root import RegistryError


class InvalidDatabaseAddress(RegistryError):
    """A text is not the address of a database."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the address of the catalog is not a valid one: {why}; write postgresql://USER:PASSWORD@HOST/DATABASE, or "
            "env:NAME for one that is in an environment variable"
        )


class DatabaseUnreachable(RegistryError):
    """A database cannot be connected to."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(
            f"the catalog at {place} cannot be opened: {why}; check the address and the password, and whether the "
            "server runs, then try again"
        )


class DatabaseLost(RegistryError):
    """The connection to a database broke, or the server ended it."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(
            f"the connection to the catalog at {place} was lost: {why}; a change that was in progress was made as a "
            "whole or not at all; try again, which stores nothing twice"
        )


class OptionsNotPassedOn(RegistryError):
    """A pooler in front of a database drops what the address sets, so that another schema would be used."""

    def __init__(self, place: str) -> None:
        super().__init__(
            f"what answers at {place} does not pass on the options of the address (pgbouncer does not), and without "
            "them another schema would be used; leave them out, and set the schema on the server: ALTER ROLE ... IN "
            "DATABASE ... SET search_path = ..."
        )


class HomeMoved(RegistryError):
    """A change is asked of a registry that was moved elsewhere."""

    def __init__(self, place: str, to: str) -> None:
        super().__init__(
            f"the registry at {place} was moved to {to}, and what is left here is not changed any more; use that one "
            f"({ELSEWHERE})"
        )
