"""Tokens: who may do what with a home that is served. What their users have is stored nowhere, only its digest."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from blake3 import blake3

from registry.catalog import rows, token_statements, trail
from registry.catalog.change import Change
from registry.catalog.database import Database
from registry.catalog.facts import canonical_json
from registry.catalog.trail import Flaw
from registry.errors.tokens import InvalidLifetime, InvalidPattern, InvalidRole, InvalidUser, UnknownToken

ROLES = ("read", "write", "admin")
"""What a token is for; each may do what those before it may."""

PREFIX = "crt_"
"""What every token begins with, so that it is known for one wherever it turns up."""

NOTED_EVERY = timedelta(hours=1)
"""How exactly it is kept when a token was last used."""

_USER = re.compile(r"(?![0-9]+$)[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}")
"""Digits alone would be a token's number."""

_PATTERN = re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9._/*?-]{0,95}")
_LONGEST = timedelta(days=36500)


@dataclass(frozen=True)
class Token:
    """What a token is for; not the token."""

    number: int
    user: str
    """Who stands in the trail for what is done with it."""
    role: str
    """One of ``ROLES``."""
    models: tuple[str, ...]
    """Patterns of the names of the models that it is for; ``*`` is any characters, ``/`` among them."""
    created_at: datetime
    expires_at: datetime | None
    """None for never."""
    last_used_at: datetime | None
    """Within an hour."""
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """Return ``"valid"``, ``"expired"`` or ``"revoked"``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


@dataclass(frozen=True)
class NewToken:
    """A token that was made just now. Its text is here and nowhere else: it cannot be shown again."""

    text: str
    """``"crt_..."``."""
    token: Token

    def __repr__(self) -> str:
        return f"NewToken(text='{PREFIX}…', token={self.token!r})"


class Tokens:
    """The tokens of a home."""

    def __init__(self, database: Database, change: Callable[[], AbstractContextManager[Change]]) -> None:
        self._database = database
        self._change = change

    def add(self, user: str, role: str, models: Sequence[str] = ("*",), lifetime: timedelta | None = None) -> NewToken:
        """Make a token.

        Raises:
            InvalidUser, InvalidRole, InvalidPattern, InvalidLifetime: naming the part.
        """
        check_token(user, role, models, lifetime)
        text = PREFIX + secrets.token_urlsafe(32)
        with self._change() as change:
            expires = None if lifetime is None else _later(change.at, lifetime)
            row = {
                "digest": digest_of(text),
                "user": user,
                "role": role,
                "models": canonical_json(list(models)),
                "created_at": change.at,
                "expires_at": expires,
            }
            number = change.connection.add(token_statements.ADD, **row)
            details = {"token": number, "user": user, "role": role, "models": list(models), "expires_at": expires}
            trail.append(change, "token", details={**details, "proof": _proof(row["digest"])})
        return NewToken(text, self._numbered(number))

    def all(self) -> tuple[Token, ...]:
        """Return every token that there ever was, in the order in which they were made."""
        return tuple(map(_token, self._database.rows(token_statements.TOKENS)))

    def revoke(self, which: int | str) -> tuple[Token, ...]:
        """Revoke the token of a number, or all valid ones of a user, and return them as they are now.

        Raises:
            UnknownToken: there is none that is not revoked already.
        """
        with self._change() as change:
            held = [_token(row) for row in change.connection.rows(token_statements.TOKENS)]
            found = [each for each in held if which in (each.number, each.user) and each.revoked_at is None]
            if not found:
                raise UnknownToken(which)
            for each in found:
                change.connection.run(token_statements.CHANGE_TOKEN, number=each.number, revoked_at=change.at)
                trail.append(change, "token", details={"token": each.number, "user": each.user, "revoked": True})
        return tuple(self._numbered(each.number) for each in found)

    def find(self, text: str) -> tuple[Token, str] | None:
        """Return the valid token of a text that somebody sent, with its digest, or None."""
        digest = digest_of(text)
        return self._valid(self._database.rows(token_statements.OF_DIGEST, digest=digest))

    def of_number(self, number: int) -> tuple[Token, str] | None:
        """Return a valid token by its number, with its digest, or None."""
        return self._valid(self._database.rows(token_statements.OF_NUMBER, number=number))

    def note_use(self, token: Token) -> None:
        """Note that a token is used now; there is no event of that, since there would be nothing else in the trail."""
        with self._change() as change:
            change.connection.run(token_statements.CHANGE_TOKEN, number=token.number, last_used_at=change.at)

    def _numbered(self, number: int) -> Token:
        return _token(self._database.rows(token_statements.OF_NUMBER, number=number)[0])

    def _valid(self, found: Sequence[rows.Token]) -> tuple[Token, str] | None:
        if not found:
            return None
        token = _token(found[0])
        return (token, found[0].digest) if token.state(datetime.now(UTC)) == "valid" else None


def digest_of(text: str) -> str:
    """Return what is stored of a token: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_due(token: Token) -> bool:
    """Whether it should be noted again that a token is used."""
    return token.last_used_at is None or datetime.now(UTC) - token.last_used_at >= NOTED_EVERY


def contradictions(database: Database, told: Mapping[int, Mapping[str, Any]]) -> Iterator[Flaw]:
    """Yield the tokens that are not what the trail tells of them: added, edited or taken out by hand.

    Args:
        told: what events tell of each, by its number.
    """
    here = {row.id: row for row in database.rows(token_statements.TOKENS)}
    for number in sorted(here.keys() | told.keys()):
        row, expected = here.get(number), told.get(number, {})
        if row is None:
            yield Flaw(f"token {number}", "it is gone from the catalog, and the trail tells of it")
        elif "proof" not in expected:
            yield Flaw(f"token {number}", "the trail does not tell of it: it was added by hand; revoke it")
        elif _columns(row) != {name: expected.get(name) for name in _columns(row)}:
            yield Flaw(f"token {number}", "it is not what the trail tells of it: it was edited; revoke it")
        elif not _is_moment(row.last_used_at):
            yield Flaw(f"token {number}", f"it was last used at {row.last_used_at!r}, which is not a time")


def _columns(row: rows.Token) -> dict[str, Any]:
    """Return what events tell of a token."""
    try:
        models = json.loads(row.models)
    except (TypeError, ValueError):
        models = repr(row.models)
    if models is not None and row.models != canonical_json(models):
        models = repr(row.models)
    told = {name: getattr(row, name) for name in ("user", "role", "created_at", "expires_at", "revoked_at")}
    return {**told, "models": models, "proof": _proof(row.digest)}


def _is_moment(text: object) -> bool:
    try:
        return text is None or datetime.fromisoformat(text).tzinfo is not None  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _proof(digest: object) -> str:
    """Return what the trail has of a token: it tells whether a row was edited, and finds no row."""
    return blake3(f"token {digest!r}".encode()).hexdigest()[:32]


def _token(row: rows.Token) -> Token:
    moments = (_moment(each) for each in (row.expires_at, row.last_used_at, row.revoked_at))
    created = _moment(row.created_at) or datetime.min.replace(tzinfo=UTC)
    return Token(row.id, row.user, row.role, _patterns(row.models), created, *moments)


def _patterns(text: str) -> tuple[str, ...]:
    """Read the patterns; of a row that was edited, none: it is then for no model."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return ()
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()


def _moment(text: str | None) -> datetime | None:
    """Read a time; where a hand wrote something else, it was long ago, so that no edit makes a token live longer."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _later(at: str, lifetime: timedelta) -> str:
    return (datetime.fromisoformat(at) + lifetime).isoformat(timespec="microseconds")


def check_token(user: str, role: str, models: Sequence[str], lifetime: timedelta | None) -> None:
    """Check what a token shall be for.

    Raises:
        InvalidUser, InvalidRole, InvalidPattern, InvalidLifetime: naming the part.
    """
    if not _USER.fullmatch(user):
        raise InvalidUser(user)
    if role not in ROLES:
        raise InvalidRole(role, ROLES)
    if not models or len(models) > 100:
        raise InvalidPattern("", "give one to a hundred patterns")
    for pattern in models:
        if not _PATTERN.fullmatch(pattern):
            raise InvalidPattern(pattern, "it is a model's name in which * is any characters and ? is one")
    if lifetime is not None and not timedelta(0) < lifetime <= _LONGEST:
        raise InvalidLifetime(str(lifetime))
