"""Requests to one server: who asks, what is sent again, and how an answer becomes a value or an error.

Reads are sent again where the server does not answer, and of the writes those alone that carry a key by which the
server knows them again. Redirects are not followed: a token goes to the host that it was meant for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, SSLError

import registry.errors as known_errors
from registry.catalog.actor import local_user
from registry.client.address import ServerAddress
from registry.client.credentials import source_of_token, token_for
from registry.client.reasons import reason_of
from registry.disk import changes
from registry.errors.client import ServerUnreachable, UnexpectedAnswer
from registry.errors.root import RegistryError, rebuild
from registry.errors.server import NotAllowed, TokenNeeded, WrongToken

API = "/api/v1"

_CONNECT_SECONDS = 10
_READ_SECONDS = 120
_CONNECTIONS = 16
"""Kept open to one server; more threads than that open and close their own."""


class _Retry(urllib3.Retry):
    """A server whose TLS is not as it has to be is not asked again: it will not be in a few seconds either."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        *rest: Any,
        **named: Any,
    ) -> _Retry:
        if isinstance(error, SSLError):
            raise error
        return super().increment(method, url, response, error, *rest, **named)


_AGAIN = _Retry(
    total=5,
    redirect=0,
    status_forcelist=(429, 502, 503, 504),
    backoff_factor=0.2,
    allowed_methods=None,
    raise_on_status=False,
)
_ONCE = _Retry(
    total=5,
    connect=3,
    read=0,
    redirect=0,
    other=0,
    status_forcelist=(429, 503),
    backoff_factor=0.2,
    allowed_methods=None,
    raise_on_status=False,
)
"""What never reached the server, or what it had no time for, may be sent again, whatever it is."""


class NothingBehind(Exception):
    """A part was asked for that begins where the bytes end."""


class Session:
    """What a process has open to a server. Threads and forked processes may share one."""

    def __init__(self, address: ServerAddress) -> None:
        self.address = address
        self._pool: tuple[int, urllib3.PoolManager] | None = None
        self._lock = threading.Lock()
        self.uploads: dict[str, str] = {}
        """Of blobs that were sent for a version that is not there yet: the ids, by digest."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Session, (self.address,)

    def get(self, path: str, **query: Any) -> Any:
        """Ask for a JSON document.

        Raises:
            RegistryError: the one that the server answers with, or that it cannot be asked.
        """
        return self._json(self._request("GET", path, query=query, retries=_AGAIN))

    def items(self, path: str, **query: Any) -> list[Any]:
        """Return the items of a list, of all its pages.

        Raises:
            RegistryError: as ``get``, or what is answered is no page.
        """
        return [each for page in self.pages(path, **query) for each in page]

    def pages(self, path: str, *, back: str = "after", **query: Any) -> Iterator[list[Any]]:
        """Yield the pages of a list.

        Args:
            back: the parameter as which the token of the next page goes back.

        Raises:
            RegistryError: as ``get``, or what is answered is no page.
        """
        token: str | None = None
        while True:
            page = self.get(path, **query, **{back: token})
            with self.legible():
                items, following = list(page["items"]), page["next"]
                if following is not None and (type(following) is not str or not items or following == token):
                    raise ValueError("a page of nothing that goes on")
            yield items
            if following is None:
                return
            token = following

    def ask(self, path: str, body: object) -> Any:
        """Ask a question that is too long for a URL: it changes nothing, so it may be sent again."""
        return self._json(self._request("POST", path, body=_encoded(body), retries=_AGAIN))

    def send(self, method: str, path: str, body: object = None, *, key: str | None = None, **query: Any) -> Any:
        """Ask for a change, and return the document that is answered.

        Args:
            key: by which the server knows it again, so that it may be sent again.
        """
        if not path.startswith("/uploads"):  # what was uploaded is nothing yet
            changes.begin()
        headers = {"Idempotency-Key": key} if key is not None else {}
        retries = _AGAIN if key is not None else _ONCE
        encoded = None if body is None else _encoded(body)
        return self._json(self._request(method, path, query, encoded, headers, retries))

    def put(self, path: str, content: memoryview, **query: Any) -> Any:
        """Send bytes once, and return the document that is answered."""
        headers = {"Content-Type": "application/octet-stream"}
        return self._json(self._request("PUT", path, query, content, headers, _ONCE))

    @contextlib.contextmanager
    def opened(self, path: str, begin: int, end: int) -> Iterator[urllib3.BaseHTTPResponse]:
        """Give the answer that has a part of some bytes, to be read by whoever asked; it may break off.

        Args:
            end: of the part, the byte there excluded.

        Raises:
            RegistryError: of the server, or that it cannot be asked.
            NothingBehind: there is no such part.
            urllib3.exceptions.HTTPError: while it is read.
        """
        headers = {"Range": f"bytes={begin}-{end - 1}"}
        response = self._request("GET", path, headers=headers, retries=_AGAIN, streams=True)
        try:
            if response.status == 416:
                raise NothingBehind()
            if response.status != 206:
                self._json(response)
                raise UnexpectedAnswer(self.address.url, f"status {response.status} where a part was asked for")
            yield response
            response.release_conn()
        except BaseException:
            response.close()
            raise

    @contextlib.contextmanager
    def legible(self) -> Iterator[None]:
        """Say of what the server answered that it is not what was asked for.

        Raises:
            UnexpectedAnswer
        """
        try:
            yield
        except RegistryError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
            raise UnexpectedAnswer(self.address.url, str(error)[:200]) from error

    def close(self) -> None:
        """Close the connections; the next request opens one again."""
        with self._lock:
            if self._pool is not None and self._pool[0] == os.getpid():
                self._pool[1].clear()
            self._pool = None

    @cached_property
    def _client(self) -> str:
        return re.sub("[^!-~]", "?", local_user())[:128]

    def _pools(self) -> urllib3.PoolManager:
        with self._lock:
            if self._pool is None or self._pool[0] != os.getpid():  # a fork may not use its parent's connections
                timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
                self._pool = os.getpid(), urllib3.PoolManager(maxsize=_CONNECTIONS, timeout=timeout)
            return self._pool[1]

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: bytes | memoryview | None = None,
        headers: Mapping[str, str] | None = None,
        retries: urllib3.Retry = _ONCE,
        *,
        streams: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        token = token_for(self.address.url)
        sent = {
            "Accept": "application/json",
            "Registry-Client": self._client,
            **({"Content-Type": "application/json"} if body is not None else {}),
            **({"Authorization": f"Bearer {token}"} if token is not None else {}),
            **(headers or {}),
        }
        asked = _query(query or {})
        try:
            return self._pools().request(
                method,
                f"{self.address.url}{API}{path}{'?' if asked else ''}{asked}",
                body=body,  # type: ignore[arg-type]  # http.client sends whatever has a buffer
                headers=sent,
                retries=retries,
                redirect=False,
                preload_content=not streams,
                decode_content=not streams,
            )
        except HTTPError as error:
            raise ServerUnreachable(self.address.url, reason_of(error)) from None

    def _json(self, response: urllib3.BaseHTTPResponse) -> Any:
        """Return the document of an answer.

        Raises:
            RegistryError: the answer is an error, or none of ours.
        """
        content = response.data
        try:
            document = json.loads(content) if content else None
        except (ValueError, RecursionError):
            raise UnexpectedAnswer(self.address.url, f"status {response.status} and no JSON") from None
        if response.status < 300:
            return document
        raise self._error(response.status, document)

    def _known_of(self, error: RegistryError) -> dict[str, str]:
        """Return what this side knows of a refusal: which server it was, and where the token came from."""
        known = {"server": self.address.url} if isinstance(error, (NotAllowed, TokenNeeded, WrongToken)) else {}
        known |= {"home": self.address.url} if "home" in error.fields() else {}
        return known | ({"source": source_of_token()} if isinstance(error, WrongToken) else {})

    def _error(self, status: int, document: Any) -> RegistryError:
        """Return the error that the server raised, or, where a newer one sent it, what it says."""
        error = document.get("error") if isinstance(document, dict) else None
        if not isinstance(error, dict):
            return UnexpectedAnswer(self.address.url, f"status {status}")
        try:
            assert known_errors  # by which every class is known
            found = rebuild(str(error["code"]), error["fields"])
            return rebuild(found.code, {**found.fields(), **self._known_of(found)})
        except Exception:  # a class that is not known here, or with other fields
            return UnexpectedAnswer(self.address.url, str(error.get("message", f"status {status}"))[:1000])


def _encoded(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def _query(query: Mapping[str, Any]) -> str:
    given = {key: value for key, value in query.items() if value is not None}
    words = {key: str(value).lower() if isinstance(value, bool) else value for key, value in given.items()}
    return urlencode(words, errors="backslashreplace")
