"""Times that users write, as the tables have them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from registry.errors.catalog import InvalidTime

_SHAPE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?")


def moment(given: str | date) -> str:
    """Return when a day begins, or a moment, as ISO 8601 in UTC; without a time zone it is in UTC.

    Raises:
        InvalidTime: it is neither.
    """
    if isinstance(given, date):
        given = given.isoformat()
    try:
        if not isinstance(given, str) or not _SHAPE.fullmatch(given):
            raise InvalidTime(given)
        found = datetime.fromisoformat(given)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidTime(given) from error
    return found.isoformat(timespec="microseconds")
