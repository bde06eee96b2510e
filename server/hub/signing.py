"""Addresses that let one upload in: signed, for one object, for a while. Who has one needs no token."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from urllib.parse import urlencode

PATH = "/api/lfs"
_SECONDS = 15 * 60
_SLOWEST = 1 << 20
"""Bytes a second that a large upload is given time for."""


@dataclass(frozen=True)
class Grant:
    """What an address lets in."""

    action: str
    """``put``, ``part``, ``complete`` or ``verify``."""
    oid: str
    """SHA-256 of the object."""
    size: int
    model: str
    user: str
    upload: str
    """One for all addresses that were given out together: when it is done, they are of no more use."""
    expires: int = 0
    """Seconds since 1970."""
    offset: int = 0
    """Of a part: where it begins."""
    length: int = 0
    """Of a part."""

    def for_(self, action: str, offset: int = 0, length: int = 0) -> Grant:
        """Return another one of the same upload."""
        return replace(self, action=action, offset=offset, length=length)


class Signer:
    """Makes addresses and knows its own again.

    Args:
        sign: gives a text's signature for a purpose, the same in every process of the server.
    """

    def __init__(self, sign: Callable[[str, str], str]) -> None:
        self._sign = sign

    def address(self, base: str, grant: Grant) -> str:
        """Return the address of a grant, which ends in a quarter of an hour, or later for what is large."""
        ending = replace(grant, expires=int(time.time()) + _SECONDS + grant.size // _SLOWEST)
        fields = {name: str(value) for name, value in asdict(ending).items()}
        return f"{base}{PATH}/{grant.oid}?{urlencode({**fields, 'signature': self._signature(fields)})}"

    def read(self, oid: str, query: Mapping[str, str]) -> Grant | None:
        """Return what an address lets in; None where it is not ours, was altered, or is over."""
        fields = dict(query)
        given = fields.pop("signature", "")
        expected = self._signature(fields)
        if not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()) or fields["oid"] != oid:
            return None
        numbers = {name: int(fields[name]) for name in ("size", "expires", "offset", "length")}
        grant = Grant(**{**fields, **numbers})  # type: ignore[arg-type]
        return grant if time.time() < grant.expires else None

    def _signature(self, fields: Mapping[str, str]) -> str:
        return self._sign("lfs", urlencode(sorted(fields.items())))
