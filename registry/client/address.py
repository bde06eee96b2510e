"""Where a server is. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from registry.errors.client import InvalidAddress

_SERVED = re.compile(r"https?://", re.IGNORECASE)


def is_served(home: object) -> bool:
    """Whether a home is that of a server, by its spelling."""
    return isinstance(home, str) and _SERVED.match(home) is not None


@dataclass(frozen=True)
class ServerAddress:
    """The address of one served home."""

    scheme: str
    host: str
    port: int
    prefix: str = ""
    """Of all paths, where a proxy puts one: ``"/models"``."""

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Read a URL.

        Raises:
            InvalidAddress: it is not one of a server, or it holds a password, which would end up in every log.
        """
        try:
            parts = urlsplit(text.strip())
            port = parts.port
        except ValueError:
            raise InvalidAddress(_without_secrets(text), "it is not a URL") from None
        scheme = parts.scheme.lower()
        if parts.username is not None or parts.password is not None:
            raise InvalidAddress(_without_secrets(text), "a token is never part of it (see REGISTRY_TOKEN)")
        if scheme not in ("http", "https") or not parts.hostname:
            raise InvalidAddress(text, "it does not begin with http:// or https:// and a host")
        if parts.query or parts.fragment:
            raise InvalidAddress(_without_secrets(text), "it has something behind the path")
        if not re.fullmatch(r"[A-Za-z0-9._~:-]+", parts.hostname) or not re.fullmatch(r"[\w.~/-]*", parts.path):
            raise InvalidAddress(text, "it has odd characters")
        return cls(scheme, parts.hostname, port or (443 if scheme == "https" else 80), parts.path.rstrip("/"))

    @property
    def url(self) -> str:
        """The one spelling of it, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.scheme == "https" else 80)
        return f"{self.scheme}://{host}{'' if usual else f':{self.port}'}{self.prefix}"

    def __str__(self) -> str:
        return self.url

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        if self.host == "localhost":
            return True
        import ipaddress

        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def folder_name(self) -> str:
        """What its cache is called."""
        return re.sub(r"[^A-Za-z0-9.-]+", "_", f"{self.host}_{self.port}{self.prefix}")


def _without_secrets(text: str) -> str:
    return re.sub(r"//[^@/]*@", "//...@", text.partition("?")[0].partition("#")[0])
