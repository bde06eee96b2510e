"""The statements of a search: one for each shape of query, with the values as parameters, compiled once.

Every term is a condition on the version of the row, so that the database can go through the versions in the order that
is wanted and stop when the page is full. It may instead begin with the few versions that one term holds for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import Boolean, ColumnElement, FromClause, Select, bindparam, exists, func, literal_column, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from registry.canonical.wrappers import OR, WRAPPERS
from registry.catalog import rows, schema
from registry.catalog.query import COLUMNS, Condition, Query, Term
from registry.catalog.rows import Reading, select
from registry.catalog.statements import IN_TRASH, IS_LIVE, whole

_MODELS, _VERSIONS, _METRICS, _TAGS = schema.MODELS, schema.VERSIONS, schema.METRICS, schema.TAGS
_ALIASES, _DOCUMENTS = schema.ALIASES, schema.DOCUMENTS
_SORTED = _METRICS.alias("sorted")

_OPEN: Any = literal_column("'('")
_CLOSE: Any = literal_column("')'")
_AT: Any = literal_column("'@'")
_PART: Any = literal_column("""'*"class":"'""")
_PART_END: Any = literal_column("""'","init":*'""")
"""What stands around the class of a part in the column."""
_LAST = "\U0010ffff"
"""Sorts after every character that a name may hold."""


class _Fits(FunctionElement[bool]):
    """Whether a text is what a pattern says, in which ``*`` is any characters, and nothing else is special."""

    type = Boolean()
    inherit_cache = True


@compiles(_Fits)
def _fits(element: _Fits, compiler: Any, **options: Any) -> str:
    text, pattern = (compiler.process(part, **options) for part in element.clauses)
    return f"({text} GLOB replace(replace({pattern}, '[', '[[]'), '?', '[?]'))"


@compiles(_Fits, "postgresql")
def _fits_like(element: _Fits, compiler: Any, **options: Any) -> str:
    text, pattern = (compiler.process(part, **options) for part in element.clauses)
    # No percent sign stands in the text: whether it has to be doubled there, each driver says otherwise.
    for special in ("'!'", "chr(37)", "'_'"):
        pattern = f"replace({pattern}, {special}, '!' || {special})"
    return f"({text} LIKE replace({pattern}, '*', chr(37)) ESCAPE '!')"


Kind = tuple[str, str]
"""What a term is about, and which form of condition it makes."""


@dataclass(frozen=True)
class Shape:
    """A query without its values, and which part of its answer is asked for."""

    kinds: tuple[Kind, ...]
    trashed: bool = False
    order: tuple[str, bool] | None = None
    """``"metric"`` or a column, and whether the largest come first."""
    part: Literal["all", "sorted", "rest"] = "all"
    """Of a sorted query: the versions that have what it is sorted by, or those that do not."""
    begins: int | None = None
    """The term whose few versions are taken first."""
    follows: bool = False
    """Whether it continues after a place."""


def kinds_of(query: Query) -> tuple[Kind, ...]:
    """Return the kinds of a query's conditions and terms."""
    by = query.order.by if query.order and query.order.is_metric else None
    metrics = [("metric", "sorted" if condition.key == by else "") for condition in query.conditions]
    return (*metrics, *((term.field, _form(term)) for term in query.terms))


def parameters_of(query: Query) -> dict[str, Any]:
    """Return the values of a query, by the names that the statements of its shape give them."""
    found: dict[str, Any] = {}
    if query.order and query.order.is_metric:
        found["sorted_by"] = query.order.by
    parts: tuple[Condition | Term, ...] = (*query.conditions, *query.terms)
    for at, part in enumerate(parts):
        values = _of_condition(part) if isinstance(part, Condition) else _of_term(part)
        found |= {f"{name}{at}": value for name, value in values.items()}
    return found


def _form(term: Term) -> str:
    if term.field == "tag" and "=" not in term.value:
        return "any"
    if term.field == "parent":
        return "version" if ":" in term.value else "model"
    return "pattern" if term.is_pattern else "exact"


def _of_condition(condition: Condition) -> Mapping[str, Any]:
    low, high = condition.bounds
    return {"key": condition.key, "low": low, "high": high}


def _of_term(term: Term) -> Mapping[str, Any]:
    value = term.value
    match term.field:
        case "name":
            begin = value.partition("*")[0]
            return {"value": value, "low": begin, "high": begin + _LAST} if term.is_pattern else {"value": value}
        case "tag":
            key, _, word = value.partition("=")
            return {"key": key, "value": word} if "=" in value else {"key": key}
        case "class":
            return {"value": value if ":" in value else f"*:{value}"}
        case "wrapper":
            return {"value": f"*({value.replace(')', '(').rstrip('(')}(*"}
        case "by":
            return {"value": f"{value}@*"}
        case "dtype":
            return {"value": f'*"{value}":*'}
        case "note":
            # As the databases do: by ASCII alone.
            return {"value": f"*{''.join(c.lower() if c.isascii() else c for c in value)}*"}
        case "digest" | "base" | "commit":
            # 'g' sorts after every hexadecimal digit.
            return {"low": value, "high": f"{value}g"}
        case "parent":
            name, _, number = value.partition(":v")
            return (
                {"value": name, "number": int(number), "text": value}
                if number
                else {"value": name, "text": f"{value}:*"}
            )
    return {"value": value}


def _given(name: str, at: int) -> Any:
    return bindparam(f"{name}{at}")


def _beside(kind: Kind, at: int) -> tuple[ColumnElement[Any], list[ColumnElement[bool]]] | None:
    """Return the condition of a term that is about another table's rows, and their column of versions."""
    what, form = kind
    value = _given("value", at)
    if what == "metric":
        metrics = _METRICS.alias(f"metrics{at}")
        is_between = metrics.c.value.between(_given("low", at), _given("high", at))
        return metrics.c.version_id, [metrics.c.key == _given("key", at), is_between]
    if what == "tag":
        tags = _TAGS.alias(f"tags{at}")
        word = {"any": [], "exact": [tags.c.value == value]}.get(form, [_Fits(tags.c.value, value)])
        return tags.c.version_id, [tags.c.key == _given("key", at), *word]
    if what == "alias":
        aliases = _ALIASES.alias(f"aliases{at}")
        return aliases.c.version_id, [aliases.c.name == value if form == "exact" else _Fits(aliases.c.name, value)]
    if what == "kept":
        documents = _DOCUMENTS.alias(f"documents{at}")
        is_kept = documents.c.kind.not_in((literal_column("'manifest'"), literal_column("'build'")))
        is_it = documents.c.kind == value if form == "exact" else _Fits(documents.c.kind, value)
        return documents.c.version_id, [is_it, is_kept]
    return None


def _of_row(kind: Kind, at: int, row: FromClause) -> Any:
    """Return the condition of a term that is about the row of the version itself."""
    what, form = kind
    value = _given("value", at)
    match what:
        case "name":
            models = select(_MODELS.c.id).where(_MODELS.c.name == value)
            if form == "exact":
                return row.c.model_id == models.scalar_subquery()
            some = select(_MODELS.c.id).where(
                _MODELS.c.name >= _given("low", at), _MODELS.c.name < _given("high", at), _Fits(_MODELS.c.name, value)
            )
            return row.c.model_id.in_(some)
        case "class":
            return _Fits(row.c.model_class, value) | _Fits(row.c.parts, _PART.concat(value).concat(_PART_END))
        case "wrapper":
            bounded = (_OPEN.concat(func.replace(told, _CLOSE, _OPEN)).concat(_OPEN) for told in _told(row.c.wrapper))
            return or_(*(_Fits(text, value) for text in bounded))
        case "by":
            return _Fits(row.c.creator.concat(_AT), value)
        case "after":
            return row.c.created_at >= value
        case "before":
            return row.c.created_at < value
        case "digest" | "base" | "commit":
            column = row.c[{"digest": "weights", "commit": "git_commit"}.get(what, what)]
            return (column >= _given("low", at)) & (column < _given("high", at))
        case "parent":
            uid = select(_MODELS.c.uid).where(_MODELS.c.name == value).scalar_subquery()
            is_here = row.c.parent_uid == uid
            if form == "version":
                is_here &= row.c.parent_number == _given("number", at)
            return is_here | (row.c.parent_uid.is_(None) & _Fits(row.c.parent, _given("text", at)))
        case "note":
            return _Fits(func.lower(row.c.note), value)
        case "dtype":
            return _Fits(row.c.dtypes, value)
    column = row.c[{"source": "source_name"}.get(what, what)]
    return column == value if form == "exact" else _Fits(column, value)


def _told(wrapper: ColumnElement[str]) -> Iterator[ColumnElement[str]]:
    """Yield what a version says of its wrappers; where names told one of several, it may have been each of them."""
    yield wrapper
    for shown in {row.by_names for row in WRAPPERS if row.by_names}:
        for name in shown.split(OR):
            yield func.replace(wrapper, literal_column(f"'{shown}'"), literal_column(f"'{name}'"))


_BY_INDEX = ("name", "digest", "base", "after", "before")
"""Terms about the row itself that an index answers; of those about other tables' rows, what is kept has none."""

TOGETHER = -1
"""In the place of one term: those about the row itself that no index answers, all at once."""


def beginnings(shape: Shape) -> list[int]:
    """Return the terms whose versions can be had first, where there are few; in the trash, all of them are few."""
    if shape.trashed:
        return []
    alone = [at for at, kind in enumerate(shape.kinds) if kind[0] in ("metric", "tag", "alias", *_BY_INDEX)]
    if shape.order is None and alone and shape.kinds == (("name", "exact"),):
        return []  # the index has them in their order
    # Going by a metric, the rows would be read one by one from everywhere; without it, this is what is done anyway.
    by_metric = shape.order is not None and shape.order[0] == "metric"
    return [*alone, TOGETHER] if by_metric and _of_rows_alone(shape) else alone


def _of_rows_alone(shape: Shape) -> list[tuple[int, Kind]]:
    return [(at, kind) for at, kind in enumerate(shape.kinds) if _beside(kind, at) is None and kind[0] not in _BY_INDEX]


def _ids(shape: Shape, begins: int) -> Select[Any]:
    """Return the versions that a term holds for."""
    beside = None if begins == TOGETHER else _beside(shape.kinds[begins], begins)
    if beside is not None:
        column, conditions = beside
        return select(column.label("id")).where(*conditions)
    row = _VERSIONS.alias("few")
    terms = _of_rows_alone(shape) if begins == TOGETHER else [(begins, shape.kinds[begins])]
    found = select(row.c.id).where(*(_of_row(kind, at, row) for at, kind in terms))
    if begins != TOGETHER and shape.kinds[begins][0] not in ("after", "before"):
        return found
    # Those are found in the index that begins with it; with an index of their own it would mislead SQLite.
    return found.where(row.c.trashed_at.is_(None))


@lru_cache(maxsize=256)
def few(shape: Shape, begins: int, most: int) -> Reading[rows.Total]:
    """Return the statement that counts the versions that a term holds for, up to some."""
    return select(func.count().label("total")).select_from(_ids(shape, begins).limit(most).subquery("chosen"))


@lru_cache(maxsize=256)
def selection(shape: Shape) -> Reading[rows.MeasuredVersion]:
    """Return the statement for the whole entries of a page, at most the parameter ``limit``."""
    if shape.part == "sorted" and shape.order is not None and shape.order[0] == "metric":
        return _by_metric(shape, shape.order[1])
    row = _VERSIONS
    conditions = _conditions(shape, row.c.id)
    chosen: Select[Any] = select(row.c.id)
    if shape.part == "sorted" and shape.order is not None:
        by, descending = shape.order
        column = row.c[COLUMNS[by]]
        chosen = chosen.add_columns(column.label("place")).where(*conditions, column.is_not(None))
        return _sorted(chosen, column, row.c.id, descending, shape.follows)
    if shape.part == "rest" and shape.order is not None:
        conditions.append(_lacks(shape.order[0]))
    elif ("name", "exact") in shape.kinds:
        last = _VERSIONS.alias("last")
        number = select(last.c.number).where(last.c.id == bindparam("row")).scalar_subquery()
        after = [row.c.number < number] if shape.follows else []
        return whole(chosen.where(*conditions, *after).order_by(row.c.number.desc()).limit(bindparam("limit")))
    after = [row.c.id < bindparam("row")] if shape.follows else []
    return whole(chosen.where(*conditions, *after).order_by(row.c.id.desc()).limit(bindparam("limit")))


def chosen(shape: Shape) -> Select[Any]:
    """Return the ids of all versions that a query asks for, in no order."""
    return select(_VERSIONS.c.id).where(*_conditions(shape, _VERSIONS.c.id))


def _by_metric(shape: Shape, descending: bool) -> Reading[rows.MeasuredVersion]:
    version = _SORTED.c.version_id
    chosen = select(version.label("id"), _SORTED.c.value.label("place"))
    chosen = chosen.where(_SORTED.c.key == bindparam("sorted_by"), *_conditions(shape, version))
    return _sorted(chosen, _SORTED.c.value, version, descending, shape.follows)


def _sorted(chosen: Select[Any], by: Any, row: Any, descending: bool, follows: bool) -> Reading[rows.MeasuredVersion]:
    """Order by a column, those that are equal newest first, and continue after a place without counting up to it."""
    if follows:
        value: Any = bindparam("value")
        is_past = by < value if descending else by > value
        chosen = chosen.where(by <= value if descending else by >= value, is_past | (row < bindparam("row")))
    chosen = chosen.order_by(by.desc() if descending else by, row.desc()).limit(bindparam("limit"))
    return whole(chosen, by_place=descending)


def _conditions(shape: Shape, version: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    """Return what must hold for the version with an id, in the order of what it costs to ask."""
    beside: list[ColumnElement[bool]] = []
    of_row: list[ColumnElement[bool]] = [IN_TRASH if shape.trashed else IS_LIVE]
    begun = [at for at, _ in _of_rows_alone(shape)] if shape.begins == TOGETHER else [shape.begins]
    for at, kind in enumerate(shape.kinds):
        if at in begun:
            continue
        if kind == ("metric", "sorted") and shape.part == "sorted":
            beside.append(_SORTED.c.value.between(_given("low", at), _given("high", at)))
        elif found := _beside(kind, at):
            column, conditions = found
            beside.append(exists().where(column == version, *conditions))
        else:
            of_row.append(_of_row(kind, at, _VERSIONS))
    if shape.begins is not None:
        beside.insert(0, version.in_(_ids(shape, shape.begins)))
    elif shape.trashed:
        # Else SQLite would look through all versions for these few, since these have the order that is wanted.
        trash = _VERSIONS.alias("trash")
        beside.insert(0, version.in_(select(trash.c.id).where(trash.c.trashed_at.is_not(None))))
    if version is _VERSIONS.c.id:
        return [*of_row, *beside]
    return [*beside, exists().where(_VERSIONS.c.id == version, *of_row)]


def _lacks(by: str) -> ColumnElement[bool]:
    if by != "metric":
        return _VERSIONS.c[COLUMNS[by]].is_(None)
    has_it = exists().where(_SORTED.c.version_id == _VERSIONS.c.id, _SORTED.c.key == bindparam("sorted_by"))
    return ~has_it
