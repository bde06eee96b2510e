"""What every call of the Hub works with: the home, its revisions, and what was sent."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlencode

from registry.errors.root import RegistryError
from registry.home.home import Home

from ..access import Caller, Role
from ..service import Service
from .answers import Refusal
from .digests import FileHasher
from .pending import PendingTrees
from .routes import Call
from .signing import Signer
from .snapshots import Revision, Snapshots
from .staging import Staging

_SWEEP_SECONDS = 600.0


@dataclass(frozen=True)
class Hub:
    """A home as a Hub."""

    service: Service
    swept: list[float] = field(default_factory=lambda: [-math.inf])
    """When, last."""

    @property
    def home(self) -> Home:
        return self.service.home

    @cached_property
    def hasher(self) -> FileHasher:
        return FileHasher(self.home)

    @cached_property
    def snapshots(self) -> Snapshots:
        return Snapshots(self.home, self.hasher, self.staging, self.trees)

    @cached_property
    def staging(self) -> Staging:
        return Staging(self.home.folder)

    @cached_property
    def trees(self) -> PendingTrees:
        return PendingTrees(self.staging)

    @cached_property
    def signer(self) -> Signer:
        return Signer(self.service.access.sessions.signature)

    def readable(self, call: Call, caller: Caller) -> Revision:
        """Return the revision that a call is about.

        Raises:
            NotAllowed, TokenNeeded: the caller may not read the model, by the name that it has now.
            RegistryError: it is not there.
        """
        with _allowed(caller, Role.READ, call.name):
            found = self.snapshots.at(call.name, call.revision)
        caller.require(Role.READ, found.name, asked=call.name)
        return found

    def writable(self, name: str, caller: Caller) -> Revision:
        """Return what ``main`` of a model is that is to be changed.

        Raises:
            NotAllowed, TokenNeeded: the caller may not change it.
            RegistryError: it is not there.
        """
        with _allowed(caller, Role.WRITE, name):
            found = self.snapshots.main(name)
        caller.require(Role.WRITE, found.name, asked=name)
        return found

    def sweep(self) -> None:
        """Delete what was uploaded and never committed, now and then."""
        now = time.monotonic()
        if now - self.swept[0] > _SWEEP_SECONDS:
            self.swept[0] = now
            self.staging.sweep(self.trees.needed())

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


@contextlib.contextmanager
def _allowed(caller: Caller, role: Role, name: str) -> Iterator[None]:
    """Tell somebody who may not do something to a model of this name nothing else of it, such as that there is none."""
    try:
        yield
    except RegistryError:
        caller.require(role, name)
        raise
