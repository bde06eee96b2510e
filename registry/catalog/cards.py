"""The card of a model: what its users should know, in Markdown. Its history is in the trail."""

from __future__ import annotations

from registry.catalog import statements, trail
from registry.catalog.change import Change
from registry.catalog.database import Database
from registry.catalog.version import check_text

MOST_CARD_BYTES = 1 << 20


def check_card(text: str) -> str:
    """Return a card that can be stored.

    Raises:
        InvalidFact: it is too long, or is no text.
    """
    return check_text("card", text, MOST_CARD_BYTES, "shorten it")


def card(database: Database, name: str) -> str | None:
    """Return the card of a model that is there, or None."""
    rows = database.rows(statements.CARD, name=name)
    return rows[0].card if rows else None


def set_card(change: Change, name: str, text: str | None) -> None:
    """Give a model that is there a card, in the place of the one that it has; an equal one is no change."""
    text = text or None
    row = change.connection.row(statements.CARD, name=name)
    if row is None or row.card == text:
        return
    change.connection.run(statements.SET_CARD, model=row.id, card=text)
    trail.append(change, "card", details={"card": text}, name=name)
