"""Who asks, and whether they may."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase

from starlette.requests import HTTPConnection

from registry.catalog.tokens import Token, is_due
from registry.errors.root import RegistryError
from registry.errors.server import NotAllowed, TokenNeeded, WrongToken
from registry.home.home import Home

from .sessions import Sessions

_log = logging.getLogger("registry.server")


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
    token: Token | None = None
    """What it is known by."""

    def may(self, role: Role, model: str | None = None) -> bool:
        """Whether this caller may do what needs a role, to a model."""
        return self.role >= role and (model is None or any(fnmatchcase(model, each) for each in self.models))

    def may_write(self, model: str) -> bool:
        """Whether this caller may change what is known of a model."""
        return self.may(Role.WRITE, model)

    def may_remove(self, model: str) -> bool:
        """Whether this caller may remove versions of a model."""
        return self.may(Role.ADMIN, model)

    @property
    def sees_all(self) -> bool:
        """Whether no model is hidden from this caller."""
        return "*" in self.models

    def require(self, role: Role, model: str | None = None, *, asked: str | None = None) -> None:
        """Let pass what the caller may do.

        Args:
            asked: the name by which a model was asked for, which may be one that it had before: what it is called now
                is nothing to tell somebody who may not read it.

        Raises:
            NotAllowed: a role or a model is missing.
            TokenNeeded: so is a token.
        """
        if not self.may(role, model):
            named = model if asked is None or self.may(Role.READ, model) else asked
            if self.user is None:
                raise TokenNeeded(role.name.lower(), named)
            raise NotAllowed(role.name.lower(), named, self.user, has=self.role.name.lower(), models=self.models)


NOBODY = Caller(None, Role.NONE)
"""Somebody without a token, where that is not enough to read."""


class Access:
    """The tokens of a home."""

    def __init__(self, home: Home, *, lets_anybody_read: bool) -> None:
        self._home = home
        self.sessions = Sessions(home.folder)
        """What a browser has in the place of a token."""
        self.anonymous = Caller(None, Role.READ) if lets_anybody_read else NOBODY
        """Who comes without a token."""

    def caller(self, authorization: str | None) -> Caller:
        """Return who sent this ``Authorization`` header.

        Raises:
            WrongToken: it is not that of a valid token.
        """
        if authorization is None:
            return self.anonymous
        scheme, _, text = authorization.partition(" ")
        found = self._home.database.tokens.find(text.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise WrongToken()
        return _caller(found[0])

    def caller_of_session(self, cookie: str) -> Caller:
        """Return whose session a cookie is; it ends with its token.

        Raises:
            WrongToken: it is none that was given here, it ended, or its token did.
        """
        number = self.sessions.number_in(cookie)
        found = None if number is None else self._home.database.tokens.of_number(number)
        if found is None or not self.sessions.is_of(cookie, found[1]):
            raise WrongToken()
        return _caller(found[0])

    def begin_session(self, text: str) -> tuple[Caller, str]:
        """Return the caller with a token, and the cookie that stands for it from now on.

        Raises:
            WrongToken: it is not a valid token.
        """
        found = self._home.database.tokens.find(text.strip())
        if found is None:
            raise WrongToken()
        token, digest = found
        return _caller(token), self.sessions.begin(token.number, digest)

    def note_use(self, caller: Caller) -> None:
        """Note that a token is used, if that is due; it must not fail a request, nor make one wait."""
        if caller.token is not None:
            try:
                self._home.database.tokens.note_use(caller.token)
            except RegistryError as error:
                _log.warning("the use of a token could not be noted: %s", error)

    @staticmethod
    def is_due(caller: Caller) -> bool:
        """Whether ``note_use`` would write."""
        return caller.token is not None and is_due(caller.token)


def caller_of(request: HTTPConnection) -> Caller:
    """Return who sends a request, as the server found out before any route was asked."""
    caller: Caller = request.scope["registry.caller"]
    return caller


def _caller(token: Token) -> Caller:
    roles: Mapping[str, Role] = {each.name.lower(): each for each in Role}
    return Caller(token.user, roles.get(token.role, Role.NONE), token.models, token)
