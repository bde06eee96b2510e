"""Where a server is, as a home is spelled. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from registry.errors.tokens import InvalidAddress

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SERVED = re.compile(r"https?://", re.IGNORECASE)
_WITHOUT_SCHEME = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}(?:/.*)?")


def is_url(text: str) -> bool:
    """Whether a text begins as a URL of any kind does."""
    return _URL.match(text) is not None


def is_served(home: object) -> bool:
    """Whether a home is that of a server, by its spelling."""
    return isinstance(home, str) and _SERVED.match(home) is not None


def with_scheme(text: str) -> str:
    """Return the address that was meant where only its scheme was left out, as in ``hub:8080``; else an empty text."""
    host = text.strip().partition("/")[0]
    return f"http://{host}" if _WITHOUT_SCHEME.fullmatch(text.strip()) else ""


@dataclass(frozen=True)
class ServerAddress:
    """The address of one served home."""

    url: str
    """Scheme, host and port, in their one spelling: ``"http://hub:8080"``."""

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Read a URL.

        Raises:
            InvalidAddress, SecretInAddress: it is not one of a server, or has a password in it.
        """
        from registry.client.credentials import origin_of

        origin = origin_of(text)
        parts = urlsplit(text.strip())
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise InvalidAddress(origin + parts.path, near=origin)
        return cls(origin)

    def __str__(self) -> str:
        return self.url

    @property
    def folder_name(self) -> str:
        """What its cache is called: ``"hub_8080"``."""
        return re.sub(r"[^A-Za-z0-9.-]+", "_", self.url.partition("://")[2]).strip("_")
