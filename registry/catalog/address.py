"""Where a catalog is that is not a file: the address of a PostgreSQL database, whose password nobody gets to see."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from registry.errors.database import InvalidDatabaseAddress

SCHEMES = ("postgresql://", "postgres://")
FROM_ENVIRONMENT = "env:"
"""What stands before the name of a variable that has the address."""

_AUTHORITY = re.compile(r"(?P<scheme>[a-z]+://)(?:(?P<user>[^@/?#:]*)(?::(?P<password>[^@/?#]*))?@)?(?P<rest>[^@]*)")
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]*)?")
_SEARCH_PATH = re.compile(r"(?:^|\s)(?:-c\s*|--)search[_-]path=((?:\\.|[^\s\\])*)")
_SECRETS = ("password", "sslpassword")


def is_address(text: str) -> bool:
    """Whether a text is meant as the address of a database, be it a valid one or not."""
    return text.startswith(("postgresql", "postgres:", FROM_ENVIRONMENT))


@dataclass(frozen=True)
class DatabaseAddress:
    """The address of a database. Its text, which messages show, is without the password and the parameters."""

    url: str = field(repr=False)
    """What the driver is given."""
    shown: str
    """``"postgresql://USER:***@HOST/DATABASE"``."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What must stand in no message, as it is spelled and as it is meant."""

    def __str__(self) -> str:
        return self.shown

    @classmethod
    def parse(cls, text: str) -> DatabaseAddress:
        """Read an address, or the variable that has it (``"env:NAME"``).

        Raises:
            InvalidDatabaseAddress: it is none; the text is shown in no part of the message.
        """
        if text.startswith(FROM_ENVIRONMENT):
            name = text.removeprefix(FROM_ENVIRONMENT)
            value = os.environ.get(name, "")
            if not value:
                raise InvalidDatabaseAddress(f"the variable {name!a}, which is to have it, is not set")
            if value.startswith(FROM_ENVIRONMENT):
                raise InvalidDatabaseAddress(f"the variable {name!a} names another variable")
            return cls.parse(value)
        if not text.startswith(SCHEMES):
            raise InvalidDatabaseAddress("it does not begin with postgresql://")
        if "\0" in text or not text.isprintable() or " " in text:
            raise InvalidDatabaseAddress(
                "it contains a space or a control character, which is written as %20 and so on"
            )
        found = _AUTHORITY.fullmatch(text)
        if found is None:
            raise InvalidDatabaseAddress(
                "an '@', '/', '?' or '#' in a user's name, a password or a parameter is written as %40, %2F, %3F or %23"
            )
        rest, _, query = found["rest"].partition("?")
        if not all(_HOST.fullmatch(each) for each in rest.partition("/")[0].split(",")):
            raise InvalidDatabaseAddress("what follows the host after ':' is not the number of a port")
        given = [found["password"] or "", *(value for key, value in _pairs(query) if key in _SECRETS)]
        secrets = {spelling for secret in given for spelling in (secret, unquote(secret)) if spelling}
        who = "" if found["user"] is None else found["user"] + (":***" if found["password"] else "") + "@"
        return cls(text, f"postgresql://{who}{rest}", tuple(sorted(secrets, key=len, reverse=True)))

    @property
    def has_password(self) -> bool:
        """Whether a password stands in it."""
        return bool(self.secrets)

    def without_secrets(self, message: str) -> str:
        """Return a message of the driver in one line, without what nobody shall see."""
        for spelling in (self.url, *self.secrets):
            message = message.replace(spelling, "***")
        return " ".join(message.split())


def search_path(options: str) -> str | None:
    """Return what a connection's options (``"-csearch_path=team"``) set the search path to; None where they do not."""
    found = _SEARCH_PATH.findall(options)
    return re.sub(r"\\(.)", r"\1", found[-1]) if found else None


def _pairs(query: str) -> list[tuple[str, str]]:
    return [(unquote(key), value) for key, _, value in (part.partition("=") for part in query.split("&"))]
