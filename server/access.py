"""Who asks, and whether they may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase

from registry.errors.server import NotAllowed, WrongToken
from registry.home.home import Home


class Role(IntEnum):
    """What a token is for; each may do what those before it may."""

    NONE = 0
    READ = 1
    WRITE = 2
    """Push, alias, tag, annotate."""
    ADMIN = 3
    """Remove, rename, and hand out tokens."""


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    user: str | None
    """None of somebody without a token."""
    role: Role
    models: tuple[str, ...] = ("*",)
    """Patterns of the names of the models that it is for."""

    def may(self, role: Role, model: str | None = None) -> bool:
        """Whether this caller may do what needs a role, to a model."""
        return self.role >= role and (model is None or any(fnmatchcase(model, each) for each in self.models))

    def may_write(self, model: str) -> bool:
        """Whether this caller may change what is known of a model."""
        return self.may(Role.WRITE, model)

    def require(self, role: Role, model: str | None = None) -> None:
        """Let pass what the caller may do.

        Raises:
            NotAllowed: a role or a model is missing.
        """
        if not self.may(role, model):
            raise NotAllowed(role.name.lower(), model, self.user)


class Access:
    """The tokens of a home."""

    def __init__(self, home: Home, *, lets_anybody_read: bool) -> None:
        self._home = home
        self._anonymous = Caller(None, Role.READ if lets_anybody_read else Role.NONE)

    def caller(self, authorization: str | None) -> Caller:
        """Return who sent this ``Authorization`` header.

        Raises:
            WrongToken: it is not that of a living token.
        """
        if authorization is None:
            return self._anonymous
        raise WrongToken()
