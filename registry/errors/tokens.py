"""Errors of tokens: making them, and keeping them on a user's machine."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.catalog import quoted
from registry.errors.root import RegistryError


class InvalidUser(RegistryError):
    """A text cannot be the user of a token."""

    def __init__(self, given: object) -> None:
        super().__init__(
            f"{quoted(given)} is not a valid user: give a name of at most 64 ASCII letters, digits, '.', '_', '@', '+' "
            "or '-', and not of digits alone, such as ann"
        )


class InvalidRole(RegistryError):
    """A text is not a role."""

    def __init__(self, given: object, roles: Sequence[str]) -> None:
        super().__init__(f"{quoted(given)} is not a valid role; give one of {', '.join(roles)}")


class InvalidPattern(RegistryError):
    """A text is not a pattern of models' names."""

    def __init__(self, given: object, why: str) -> None:
        super().__init__(f"{quoted(given)} is not a valid pattern of models: {why}; give for example 'team/*'")


class InvalidLifetime(RegistryError):
    """A token cannot be valid for that long."""

    def __init__(self, given: str) -> None:
        super().__init__(f"a token cannot be valid for {given}; give a time from 1s to 36500d, or none for always")


class UnknownToken(RegistryError):
    """There is no such token to revoke."""

    def __init__(self, which: int | str) -> None:
        whose = f"no token {which}" if isinstance(which, int) else f"no token of {quoted(which)}"
        super().__init__(f"there is {whose} that is not revoked already; `registry token list` shows what there is")


class InvalidAddress(RegistryError):
    """A text is not the address of a server."""

    def __init__(self, given: str, near: str = "") -> None:
        hint = f"did you mean {near}?" if near else "give for example http://hub:8080"
        super().__init__(f"{quoted(given)} is not a valid address of a server; {hint}")


class SecretInAddress(RegistryError):
    """An address has a user or a password in it, which would end up in histories and logs."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"the address of {host} has a user or a password in it, which is never sent; leave that out, and give the "
            "token to `registry login` or in REGISTRY_TOKEN"
        )


class UnprotectedToken(RegistryError):
    """A token would be sent so that whoever is on the way can read it."""

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"the token for {origin} was not sent: over plain http anybody on the way could read it; use https, or "
            "set REGISTRY_ALLOW_HTTP=1 where you trust the network"
        )


class UnusableToken(RegistryError):
    """What is to be sent as a token cannot be one."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"{source} is not a valid token: a token is one word of ASCII characters, such as `registry token add` "
            "shows it; copy it whole"
        )


class UnreadableLogins(RegistryError):
    """The file with this user's tokens cannot be used."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"the tokens in {path} cannot be used: {why}")


class NotLoggedIn(RegistryError):
    """There is no token of a server to forget."""

    def __init__(self, where: str) -> None:
        super().__init__(f"there is no token for {where} here; nothing was changed")


class NoSuchServer(RegistryError):
    """Nothing answers at an address, or something other than a registry does."""

    def __init__(self, origin: str, why: str) -> None:
        super().__init__(f"there is no registry at {origin}: {why}; check the address, and that `registry serve` runs")
