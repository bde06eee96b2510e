"""What a browser has in the place of a token: a cookie that names the token's row, signed with a key of the home."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import time
from functools import cached_property
from pathlib import Path

from registry.errors.catalog import HomeUnusable

COOKIE = "registry_session"
LASTS = 7 * 24 * 3600
"""Seconds."""

_KEY_FILE = "server.key"


class Sessions:
    """The sessions of a home; its processes share one key. Nothing is stored of a session."""

    def __init__(self, home: Path) -> None:
        self._path = home / _KEY_FILE

    def begin(self, number: int, digest: str) -> str:
        """Return the cookie of a session with a token.

        Args:
            number: of the token.
            digest: of the token, so that no other one can take its place under its number.
        """
        ends = int(time.time()) + LASTS
        return f"{number}.{ends}.{self.signature('session', f'{number}.{ends}.{digest}')}"

    def number_in(self, cookie: str) -> int | None:
        """Return the number of the token that a cookie names, unless the session is over; it proves nothing yet."""
        parts = cookie.split(".")
        if len(parts) != 3 or not all(each.isascii() and each.isdigit() and len(each) < 16 for each in parts[:2]):
            return None
        return int(parts[0]) if time.time() < int(parts[1]) else None

    def is_of(self, cookie: str, digest: str) -> bool:
        """Whether a cookie was given here for the token of a digest."""
        named, _, signature = cookie.rpartition(".")
        expected = self.signature("session", f"{named}.{digest}")
        return hmac.compare_digest(signature.encode("utf-8", "replace"), expected.encode())

    def signature(self, purpose: str, text: str) -> str:
        """Sign a text for one purpose alone; in 64 hexadecimal digits."""
        return hmac.new(self._key, f"{purpose}\0{text}".encode(), "sha256").hexdigest()

    @cached_property
    def _key(self) -> bytes:
        """Read the key, or make it: whole under its name from the first moment on, whoever else makes one."""
        try:
            if not self._path.exists():
                self._make_key()
            key = self._path.read_bytes()
        except OSError as error:
            raise HomeUnusable(str(self._path), error.strerror or "it cannot be read") from error
        if len(key) != 32:
            raise HomeUnusable(str(self._path), "it is not a key of 32 bytes; delete it, and all log in again")
        return key

    def _make_key(self) -> None:
        temporary = self._path.with_name(f".{_KEY_FILE}.{secrets.token_hex(8)}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another process was faster: its key counts
                os.link(temporary, self._path)
        finally:
            temporary.unlink()
