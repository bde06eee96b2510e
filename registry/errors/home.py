"""Errors of the place where a registry is to be."""

from __future__ import annotations

from registry.errors.catalog import ELSEWHERE
from registry.errors.root import RegistryError


class NoRegistry(RegistryError):
    """There is no registry at a place, and to read there makes none."""

    def __init__(self, home: str, source: str = "") -> None:
        """Word it.

        Args:
            source: what named the place: ``--home``, ``REGISTRY_HOME``, an argument, or nothing but the default.
        """
        came = f" (from {source})" if source else ""
        if source == "the default":
            came = ", which is the default where neither --home nor REGISTRY_HOME names a folder"
        super().__init__(f"there is no registry at {home}{came}; `registry push FILE` makes one there, and {ELSEWHERE}")


class DatabaseMissing(RegistryError):
    """A folder has what a registry leaves, and its database is gone."""

    def __init__(self, home: str, source: str = "") -> None:
        came = f" (from {source})" if source else ""
        super().__init__(
            f"the registry at {home}{came} has lost its database, {home}/registry.db; put a backup in its place "
            f"(see {home}/backups), and push nothing before that"
        )


class NoDefaultHome(RegistryError):
    """This user has no home directory, so that there is no default place for a registry."""

    def __init__(self, user: int) -> None:
        super().__init__(
            f"the user with the number {user} has no home directory here, so there is no default place for the "
            "registry; name a folder with --home or REGISTRY_HOME"
        )


class NotAHome(RegistryError):
    """A URL was given as a home that leads to neither a folder nor a server."""

    def __init__(self, scheme: str) -> None:
        """Word it.

        Args:
            scheme: of the URL; the rest may have a password in it.
        """
        super().__init__(
            f"a home cannot be at {scheme}://: it is a folder, or a server at http:// or https://; `registry init "
            "--help` says how a folder's catalog gets into PostgreSQL and its bytes into a bucket"
        )


class InvalidConfiguration(RegistryError):
    """What says where the parts of a home are cannot be read or used."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__(f"{source} does not say where the registry is: {why}")


class HomeConfigured(RegistryError):
    """A home that is to be made is there already."""

    def __init__(self, home: str, why: str) -> None:
        super().__init__(f"{home} {why}; `registry move --to FOLDER` takes it to another home, and {ELSEWHERE}")
