"""What a server is started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """How one server process serves one home."""

    home: Path
    host: str = "127.0.0.1"
    port: int = 8080
    anonymous: bool | None = None
    """Whether anybody may read without a token; by default on a loopback address alone."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which it is called, besides the address that it is bound to; of any other a request is refused."""

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def lets_anybody_read(self) -> bool:
        return self.is_loopback if self.anonymous is None else self.anonymous
