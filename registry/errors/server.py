"""Errors of a home that is served over HTTP, on both sides."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.root import RegistryError, few


class ExtraMissing(RegistryError, ImportError):
    """A part of the program was asked for whose libraries are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs more than is installed; run `pip install 'checkpoint-registry[{extra}]'`")


class WrongToken(RegistryError):
    """A request came with a token that is not one of the server's, or no longer."""

    def __init__(self, server: str = "", source: str = "") -> None:
        """Word it.

        Args:
            server: its address, which the server does not know itself: the client adds it.
            source: where the token was found: ``REGISTRY_TOKEN``, or the file of ``registry login``.
        """
        found = f" in {source}" if source else ""
        there = f" at {server}" if server else ""
        super().__init__(
            f"the token{found} is unknown, expired or revoked{there}; ask whoever runs the server for another one"
        )


class NotAllowed(RegistryError):
    """A request needs a role that its token does not give."""

    def __init__(
        self, role: str, model: str | None, user: str, server: str = "", has: str = "", models: Sequence[str] = ()
    ) -> None:
        """Word it.

        Args:
            has: the role that the token gives, for the models of these patterns.
        """
        gives = f": it gives '{has}' for {few(models)}" if has and models else ""
        wanted = "" if model is None or "*" in models else f" --models '{model}'"
        super().__init__(
            f"the token of {user} does not give the role '{role}' {_where(model, server)}{gives}; ask whoever runs the "
            f"server for one that does (`registry token add {user} --role {role}{wanted}`)"
        )


class TokenNeeded(RegistryError):
    """A request needs a role, and no token came with it."""

    def __init__(self, role: str, model: str | None = None, server: str = "") -> None:
        login = f"`registry login {server}`" if server else "`registry login` with the server's address"
        super().__init__(
            f"this needs a token with the role '{role}' {_where(model, server)}, and none was sent; run {login}, or "
            "set REGISTRY_TOKEN"
        )


def _where(model: str | None, server: str) -> str:
    told = ([f"for {model}"] if model is not None else []) + ([f"at {server}"] if server else [])
    return " ".join(told) or "here"
