"""What a server is started with."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 30.0
"""Seconds to wait for the next part of a request, and for running requests when a server stops."""

_VARIABLE = "REGISTRY_SERVER"


@dataclass(frozen=True)
class Settings:
    """How server processes serve one home."""

    home: Path
    host: str = "127.0.0.1"
    port: int = 8080
    anonymous: bool | None = None
    """Whether anybody may read without a token; by default only programs on this machine, where no others come."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which it is called, besides its own; ``*.lab.example`` is any below."""
    workers: int = 1
    """Processes."""
    access_log: bool = False
    """Whether each request is a line on standard error."""
    patience: float = field(default_factory=lambda: PATIENCE)
    """Seconds, as ``PATIENCE``."""

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
        """Whether a request without a token may read.

        A server that is called by other names is behind something that others reach, be it bound to this machine.
        """
        return self.is_loopback and not self.allowed_hosts if self.anonymous is None else self.anonymous

    def to_environment(self) -> dict[str, str]:
        """Return what tells a worker process the same."""
        return {_VARIABLE: json.dumps({**asdict(self), "home": str(self.home)})}

    @classmethod
    def from_environment(cls) -> Settings:
        """Return what the process was told that started this one."""
        told: dict[str, Any] = json.loads(os.environ[_VARIABLE])
        return cls(**{**told, "home": Path(told["home"]), "allowed_hosts": tuple(told["allowed_hosts"])})
