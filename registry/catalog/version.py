"""What a push hands over, checked before the database is touched."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from registry.catalog.facts import Facts, encode_init
from registry.errors.catalog import ContradictoryChange, InvalidFact, InvalidMetric, InvalidTag
from registry.reference import check_alias, check_model_name

MOST_NOTE_BYTES = 10_000
_MOST_INIT_BYTES = 1_000_000
_METRIC_KEY = r"[A-Za-z0-9_][A-Za-z0-9_./@%:+-]{0,127}"
_TAG_KEY = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
_LONGEST_TAG = 256
_RUN = _METRIC_KEY


@dataclass(frozen=True)
class NewVersion:
    """A version before it has a number."""

    name: str
    facts: Facts = field(default_factory=Facts)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Sequence[str] = ()
    documents: Mapping[str, bytes] = field(default_factory=dict)
    """Bodies by kind: ``"training"``, ``"example"``."""
    card: str | None = None
    """The model's card from now on; None leaves the one that it has."""

    def check(self) -> None:
        """Refuse what the catalog could not keep as it is.

        Raises:
            InvalidModelName, InvalidAlias, InvalidMetric, InvalidTag, InvalidFact, UnstorableInit: naming the part.
        """
        check_model_name(self.name)
        for alias in self.aliases:
            check_alias(alias)
        check_metrics(self.metrics)
        check_tags(self.tags)
        check_note(self.facts.note)
        if len(encode_init(self.facts.init)) > _MOST_INIT_BYTES:
            raise InvalidFact("constructor arguments", f"they take more than {_MOST_INIT_BYTES} bytes as JSON")
        if "manifest" in self.documents:
            raise InvalidFact("document 'manifest'", "the manifest is given apart")


class Vanished(Exception):
    """What a push found stored, and meant to use, was trashed or collected since; it has to look again."""


def check_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics as floats.

    Raises:
        InvalidMetric: a key breaks the grammar, or a value is no finite number.
    """
    checked: dict[str, float] = {}
    for key, value in metrics.items():
        if not isinstance(key, str) or not re.fullmatch(_METRIC_KEY, key):
            raise InvalidMetric(
                key, "a key is 1 to 128 ASCII letters, digits or _./@%:+- and begins with a letter, a digit or '_'"
            )
        try:
            checked[key] = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidMetric(key, f"its value is of the type {type(value).__name__}; give a number") from error
        if isinstance(value, str) or not math.isfinite(checked[key]):
            raise InvalidMetric(
                key, f"its value is {value!r:.40}, and only finite numbers can be compared; leave it out"
            )
    return checked


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags as they are.

    Raises:
        InvalidTag: a key breaks the grammar, or a value is no short line of text.
    """
    for key, value in tags.items():
        if not isinstance(key, str) or not re.fullmatch(_TAG_KEY, key):
            raise InvalidTag(key, "a key is 1 to 64 ASCII letters, digits or _.- and begins with none of .-")
        if not isinstance(value, str):
            raise InvalidTag(key, f"its value is of the type {type(value).__name__}; give a text")
        if not 1 <= len(value) <= _LONGEST_TAG or not value.isprintable():
            raise InvalidTag(key, f"its value is not 1 to {_LONGEST_TAG} printable characters; a note takes more")
    return dict(tags)


def check_apart(kind: str, new: Mapping[str, object], removed: Collection[str]) -> None:
    """Refuse to set and to remove one thing at once.

    Raises:
        ContradictoryChange
    """
    for key in removed:
        if key in new:
            raise ContradictoryChange(kind, key)


def check_note(note: str) -> str:
    """Return a note that can be stored.

    Raises:
        InvalidFact: it is too long, or is no text.
    """
    return check_text("note", note, MOST_NOTE_BYTES, "put it into a file")


def check_text(what: str, text: str, most: int, way: str) -> str:
    """Return a text that can be stored.

    Args:
        most: bytes.
        way: what to do with a longer one.

    Raises:
        InvalidFact: it is too long, or is no text.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidFact(what, "it is not valid Unicode; write it again") from error
    if size > most:
        raise InvalidFact(what, f"it has {size:,} bytes and {most:,} are the most; {way}")
    if "\0" in text:
        raise InvalidFact(what, "it contains a NUL character; take it out")
    return text


def check_run(run: str | None) -> None:
    """Refuse an id of a training run that could not be searched for.

    Raises:
        InvalidFact: it breaks the grammar.
    """
    if run is not None and not re.fullmatch(_RUN, run):
        raise InvalidFact("run", "an id is 1 to 128 ASCII letters, digits or _./@%:+- and begins with none of ./@%:+-")
