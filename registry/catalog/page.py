"""A page of a listing, and the token that continues after it."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

from blake3 import blake3

from registry.catalog.entry import Entry
from registry.catalog.listed import Listing
from registry.errors.search import UnusablePageToken


class Page(Listing, tuple[Entry, ...]):
    """Entries, and what to give as ``after`` to get those that follow."""

    next: str | None
    """None on the last page."""

    def __new__(cls, entries: Iterable[Entry] = (), next: str | None = None) -> Page:
        page = super().__new__(cls, entries)
        page.next = next
        return page


@dataclass(frozen=True)
class Place:
    """Where a page ended: at this value of what it is sorted by, and at this row.

    Rows are never renumbered and new ones come later, so that a push moves nothing from one page to another.
    """

    value: float | str | None
    """None among those that do not have what it is sorted by."""
    row: int

    def token(self, search: str) -> str:
        """Return it as a text for users, which belongs to one search."""
        document = json.dumps([_mark(search), self.value, self.row], separators=(",", ":"))
        return base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")

    @classmethod
    def of(cls, token: str, search: str, kind: type | None) -> Place:
        """Read one.

        Args:
            kind: ``float``, ``int`` or ``str``, of what the search is sorted by; None if it is not sorted.

        Raises:
            UnusablePageToken: it is not a token, or one of another search.
        """
        try:
            mark, value, row = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        except (ValueError, TypeError, RecursionError, binascii.Error):
            raise UnusablePageToken("it is not one") from None
        if isinstance(mark, str) and mark != _mark(search):
            raise UnusablePageToken("it belongs to another query")
        if type(mark) is not str or type(row) is not int or not 0 <= row < 2**63 or not _fits(value, kind):
            raise UnusablePageToken("it is not one")
        return cls(value, row)


def _fits(value: object, kind: type | None) -> bool:
    """Whether a value is one that a search could have come to."""
    if value is None:
        return True
    if type(value) is int:
        return kind in (int, float) and abs(value) < 2**63
    if type(value) is float:
        return kind is float and math.isfinite(value)
    return type(value) is str and kind is str and value.isascii() and value.isprintable()


def _mark(search: str) -> str:
    return blake3(search.encode()).hexdigest()[:12]
