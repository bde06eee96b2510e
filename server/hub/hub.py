"""What every call of the Hub works with: the home, its revisions, and what was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlencode

from registry.home.home import Home

from ..access import Caller
from ..service import Service
from .answers import Refusal
from .digests import FileHasher
from .snapshots import Snapshots


@dataclass(frozen=True)
class Hub:
    """A home as a Hub."""

    service: Service

    @property
    def home(self) -> Home:
        return self.service.home

    @cached_property
    def hasher(self) -> FileHasher:
        return FileHasher(self.home)

    @cached_property
    def snapshots(self) -> Snapshots:
        return Snapshots(self.home, self.hasher)

    def close(self) -> None:
        self.hasher.close()


@dataclass(frozen=True)
class Asked:
    """What was sent."""

    caller: Caller
    base: str
    """``http://host:port`` as the client calls the server."""
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes = b""

    def number(self, key: str, default: int, most: int = 1 << 31) -> int:
        """Return a whole number of the query.

        Raises:
            Refusal: it is none.
        """
        given = self.query.get(key, str(default))
        if not given.isascii() or not given.isdigit() or len(given) > 10:
            raise Refusal(400, f"{key}={given[:40]} is not a valid number")
        return min(int(given), most)

    def listed(self, key: str) -> list[str]:
        """Return the values of a field of the body, which is a form or JSON.

        Raises:
            Refusal: it is neither.
        """
        if "json" in self.headers.get("content-type", ""):
            found = self.json().get(key, [])
            return [found] if isinstance(found, str) else [each for each in found if isinstance(each, str)]
        try:
            return parse_qs(self.body.decode(), keep_blank_values=True, max_num_fields=10_000).get(key, [])
        except ValueError as error:
            raise Refusal(400, "the body is not a valid form") from error

    def json(self) -> Mapping[str, Any]:
        """Return the body, a JSON object.

        Raises:
            Refusal: it is none.
        """
        try:
            found = json.loads(self.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise Refusal(400, "the body is not valid JSON") from error
        if not isinstance(found, dict):
            raise Refusal(400, "the body is not a JSON object")
        return found

    def link(self, other: Mapping[str, str]) -> str:
        """Return the header that leads to the next page."""
        return f'<{self.base}{self.path}?{urlencode({**self.query, **other})}>; rel="next"'
