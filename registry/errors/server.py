"""Errors of a home that is served over HTTP, on both sides."""

from __future__ import annotations

from registry.errors.root import RegistryError


class ExtraMissing(RegistryError, ImportError):
    """A part of the program was asked for whose libraries are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs more than is installed; run `pip install 'checkpoint-registry[{extra}]'`")


class WrongToken(RegistryError):
    """A request came with a token that is not one of the server's, or no longer."""

    def __init__(self) -> None:
        super().__init__("the token is unknown, expired or revoked; ask whoever runs the server for another one")


class NotAllowed(RegistryError):
    """A request needs a role that its token does not give."""

    def __init__(self, role: str, model: str | None, user: str) -> None:
        what = f"for {model}" if model is not None else "here"
        super().__init__(f"the token of {user} does not give the role '{role}' {what}; ask for one that does")


class TokenNeeded(RegistryError):
    """A request needs a role, and no token came with it."""

    def __init__(self, role: str, model: str | None = None) -> None:
        what = f"for {model}" if model is not None else "here"
        super().__init__(
            f"this needs a token with the role '{role}' {what}, and none was sent; run `registry login` with the "
            "server's address, or set REGISTRY_TOKEN"
        )
