"""The language of queries: a text becomes a ``Query``, or one sentence with the place in it.

::

    query     = { term }                                   separated by spaces, joined by and
    term      = metric | field | name
    metric    = key comparison number                      acc>=0.9   "val/acc top" > 0.5
    field     = one of FIELDS ":" value                    class:PointNet   tag:note="two words"
    name      = letters with "*" for any, and one "/"      pointnet   team/*
    sort      = "sort:" [ "-" ] ( key | one of COLUMNS )   sort:-acc   sort:-"epoch" is the metric of that name
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import NoReturn

from registry.catalog.query import COLUMNS, FIELDS, OPERATORS, Condition, Order, Query, Term
from registry.errors.search import InvalidQuery, UnknownField

MOST_TERMS = 32
"""More would make a statement that no database likes."""

_LONGEST_KEY = 128
_SPACE = re.compile(r"\s*")
_FIELD = re.compile(rf"({'|'.join(FIELDS)}):")
_UNQUOTED_KEY = re.compile(r'[^\s"<>=!]+')
_UNQUOTED_VALUE = re.compile(r'[^\s"]+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_OPERATOR = re.compile(r"[<>=!]+")
_NAME_PART = r"[A-Za-z0-9_*][A-Za-z0-9._*-]{0,127}"
_NAME = re.compile(rf"{_NAME_PART}(/{_NAME_PART})?")
_TAG_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_HEX = re.compile(r"[0-9a-f]{1,64}")
_PARENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*(:v[1-9][0-9]{0,17})?")


def parse(text: str) -> Query:
    """Read a query.

    Raises:
        InvalidQuery, UnknownField: with the place in it.
    """
    return _Reader(text).query()


class _Reader:
    """Reads from left to right; ``at`` is the index of the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def query(self) -> Query:
        self._refuse_the_unprintable()
        terms: list[Term] = []
        conditions: list[Condition] = []
        order: Order | None = None
        self._skip()
        while self.at < len(self.text):
            begin = self.at
            found = self._term()
            if isinstance(found, Condition):
                conditions.append(found)
            elif isinstance(found, Term):
                self._check_fits(found, terms, begin)
                terms.append(found)
            else:
                if order is not None:
                    self._refuse("there is a second sort; leave one of them out", begin)
                order = found
            if len(terms) + len(conditions) > MOST_TERMS:
                self._refuse(f"a query has at most {MOST_TERMS} terms; leave some out", begin)
            if self.at < len(self.text) and not self.text[self.at].isspace():
                self._refuse("a space is missing between two terms")
            self._skip()
        return Query(tuple(terms), tuple(conditions), order)

    def _term(self) -> Term | Condition | Order:
        begin = self.at
        if field := self._take(_FIELD):
            return self._order() if field[1] == "sort" else Term(field[1], self._value(field[1], begin))
        if operator := self._take(_OPERATOR):
            self._refuse(f"what is compared is missing before {operator[0]!r}; write a metric, as in acc>=0.9", begin)
        is_quoted = self.text.startswith('"', begin)
        word = self._quoted() if is_quoted else self._taken(_UNQUOTED_KEY)
        after = self.at
        self._skip()
        if operator := self._take(_OPERATOR):
            return self._condition(word, operator[0], begin, after)
        self.at = after
        field_name, colon, value = word.partition(":")
        if colon and not is_quoted:
            raise UnknownField(self.text, begin, field_name, value, list(FIELDS))
        if not _NAME.fullmatch(word):
            self._refuse("this is not a model's name, a metric compared with a number, or a field with a value", begin)
        return Term("name", word)

    def _condition(self, key: str, operator: str, begin: int, at: int) -> Condition:
        if not 1 <= len(key) <= _LONGEST_KEY:
            self._refuse(f"a metric's name has 1 to {_LONGEST_KEY} characters", begin)
        if operator != "==" and operator not in OPERATORS:
            self._refuse(
                f"{operator!r} is not a comparison; write one of {' '.join(OPERATORS)}", self.text.find(operator, at)
            )
        self._skip()
        begin = self.at
        number = self._take(_UNQUOTED_KEY)
        try:
            value = float(number[0]) if number else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self._refuse("a metric is compared with a finite number, as in acc>=0.9; a tag is tag:task=seg", begin)
        return Condition(key, "=" if operator == "==" else operator, value)

    def _order(self) -> Order:
        begin = self.at
        sign = self._take(re.compile("[-+]"))
        descending = sign is not None and sign[0] == "-"
        if self.text.startswith('"', self.at):
            by, is_metric = self._quoted(), True
        else:
            by = self._taken(_UNQUOTED_VALUE)
            is_metric = by not in COLUMNS
        if not 1 <= len(by) <= _LONGEST_KEY:
            self._refuse(f"a sort names a metric or one of {', '.join(COLUMNS)}; '-' before it turns it round", begin)
        return Order(by, is_metric, descending)

    def _value(self, field: str, begin: int) -> str:
        value = ""
        start = self.at
        while self.at < len(self.text) and not self.text[self.at].isspace():
            value += self._quoted() if self.text[self.at] == '"' else self._taken(_UNQUOTED_VALUE)
        if not value:
            self._refuse(f"the field {field} has no value; write for example {FIELDS[field]}", begin)
        if field in ("after", "before"):
            return self._moment(value, start)
        if field in ("digest", "base", "commit"):
            value = value.lower()
            if not _HEX.fullmatch(value):
                self._refuse("a digest is given by its first hexadecimal digits", start)
        if field == "tag" and not _TAG_KEY.fullmatch(value.partition("=")[0]):
            self._refuse("a tag is written task=seg, or task alone for any value", start)
        if field == "parent" and not _PARENT.fullmatch(value):
            self._refuse("a parent is a model's name or one of its versions, such as pointnet:v2", start)
        return value

    def _moment(self, value: str, start: int) -> str:
        """Return a day, which begins at midnight UTC, or a time as the catalog writes it."""
        try:
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
            if not re.match(r"\d{4}-\d\d-\d\d", value):
                raise ValueError(value)
        except (ValueError, OverflowError):
            self._refuse("this is not a date; write 2026-11-01 or 2026-11-01T18:30, in UTC", start)
        return moment.isoformat(timespec="microseconds")

    def _check_fits(self, term: Term, others: list[Term], begin: int) -> None:
        """Refuse a second name, which no version has; a pattern may narrow another one."""
        if term.field != "name" or term.is_pattern:
            return
        for other in others:
            if other.field == "name" and not other.is_pattern and other.value != term.value:
                self._refuse(f"a version has one model, and this query names {other.value}, too; leave one out", begin)

    def _quoted(self) -> str:
        found = self._take(_QUOTED)
        if found is None:
            self._refuse('the quote that begins here does not end; write " at its end, and \\" for a quote inside')
        return re.sub(r"\\(.)", r"\1", found[1])

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def _taken(self, pattern: re.Pattern[str]) -> str:
        found = self._take(pattern)
        return found[0] if found else ""

    def _skip(self) -> None:
        self._take(_SPACE)

    def _refuse_the_unprintable(self) -> None:
        for at, letter in enumerate(self.text):
            if not letter.isprintable() and not letter.isspace():
                self._refuse("this character cannot be typed; leave it out", at)

    def _refuse(self, why: str, at: int | None = None) -> NoReturn:
        raise InvalidQuery(self.text, self.at if at is None else at, why)
