"""A page of a listing, and the token that continues after it."""

from __future__ import annotations

import base64
import binascii
import json
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
    def of(cls, token: str, search: str) -> Place:
        """Read one.

        Raises:
            UnusablePageToken: it is not a token, or one of another search.
        """
        try:
            mark, value, row = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        except (ValueError, TypeError, RecursionError, binascii.Error):
            raise UnusablePageToken("it is not one") from None
        is_plain = value is None or type(value) in (int, float, str)
        if not is_plain or type(row) is not int or not 0 <= row < 2**63 or not _fits(value):
            raise UnusablePageToken("it is not one")
        if mark != _mark(search):
            raise UnusablePageToken("it belongs to another query")
        return cls(value, row)


def _fits(value: object) -> bool:
    return not isinstance(value, int) or abs(value) < 2**63


def _mark(search: str) -> str:
    return blake3(search.encode()).hexdigest()[:12]
