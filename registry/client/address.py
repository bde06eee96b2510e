"""Where a server is, as a home is spelled. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from registry.errors.tokens import InvalidAddress

_SERVED = re.compile(r"https?://", re.IGNORECASE)
_OTHER = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_NAME = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
_NUMBERS = r"\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\]"
_HOST = re.compile(rf"({_NAME}|{_NUMBERS}):\d{{1,5}}|{_NUMBERS}", re.IGNORECASE)
_SLIP = re.compile(rf"(https?)(?::/{{0,2}}|//)(({_NAME}|{_NUMBERS})(:\d{{1,5}})?)", re.IGNORECASE)


def is_served(home: object) -> bool:
    """Whether a home is that of a server, by its spelling."""
    return isinstance(home, str) and _SERVED.match(home) is not None


def meant(home: str) -> str | None:
    """Return the address of a server that a home which is none seems to mean: of ``"hub:8080"`` it is one of http.

    Raises:
        InvalidAddress: it is an address of another kind.
    """
    place = home.strip().rstrip("/")
    if _HOST.fullmatch(place):
        return f"http://{place}"
    slip = _SLIP.fullmatch(place)
    if slip is not None:
        return f"{slip[1].lower()}://{slip[2]}"
    if _OTHER.match(place):
        raise InvalidAddress(home if "@" not in home else "…")
    return None


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
            raise InvalidAddress(origin + parts.path)
        return cls(origin)

    def __str__(self) -> str:
        return self.url

    @property
    def folder_name(self) -> str:
        """What its cache is called: ``"hub_8080"``."""
        return re.sub(r"[^A-Za-z0-9.-]+", "_", self.url.partition("://")[2]).strip("_")
