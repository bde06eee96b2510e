"""Every statement of the catalog, on the tables of ``schema``: one set, which the dialect of each engine compiles.

A statement is made once, with parameters, and so compiled once. Where a filter may be absent, a function joins the
conditions that there are.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Select,
    String,
    Table,
    bindparam,
    case,
    column,
    delete,
    exists,
    func,
    insert,
    literal_column,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.functions import FunctionElement

from registry.catalog import rows, schema
from registry.catalog.rows import R, Reading, select

_MODELS, _VERSIONS, _DOCUMENTS, _METRICS = schema.MODELS, schema.VERSIONS, schema.DOCUMENTS, schema.METRICS
_TAGS, _FORMER_NAMES = schema.TAGS, schema.FORMER_NAMES
_ALIASES, _EVENTS, _TRAIL = schema.ALIASES, schema.EVENTS, schema.TRAIL
_BLOBS, _TENSORS, _NEEDS = schema.BLOBS, schema.STORED_TENSORS, schema.VERSION_BLOBS


# What SQLAlchemy words for one dialect at a time, of which the second need not be imported


class _AddUnlessThere(Insert):
    """Insert a row unless one has its key."""

    inherit_cache = True


class AddOrReplace(Insert):
    """Insert a row, or say in the one with its key what this one says."""

    inherit_cache = True


@compiles(_AddUnlessThere)
def _add_unless_there(statement: _AddUnlessThere, compiler: Any, **options: Any) -> str:
    return f"{compiler.visit_insert(statement, **options)} ON CONFLICT DO NOTHING"


@compiles(AddOrReplace)
def _add_or_replace(statement: AddOrReplace, compiler: Any, **options: Any) -> str:
    table = statement.table
    assert isinstance(table, Table)
    quote = compiler.preparer.quote
    key = ", ".join(quote(part.name) for part in table.primary_key)
    rest = ", ".join(f"{quote(c.name)} = excluded.{quote(c.name)}" for c in table.c if not c.primary_key)
    return f"{compiler.visit_insert(statement, **options)} ON CONFLICT ({key}) DO UPDATE SET {rest}"


class Elements(FunctionElement[Any]):
    """The texts of a JSON array as rows of the column ``value``: any number of them in one parameter."""

    inherit_cache = True


@compiles(Elements)
def _elements(array: Elements, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(array.clauses, **options)})"


@compiles(Elements, "postgresql")
def _elements_of_jsonb(array: Elements, compiler: Any, **options: Any) -> str:
    return f"jsonb_array_elements_text(CAST({compiler.process(array.clauses, **options)} AS JSONB))"


def _same(name: str, of: ColumnElement[Any]) -> ColumnElement[bool]:
    return of == bindparam(name)


# Whole entries

IS_LIVE = _VERSIONS.c.trashed_at.is_(None)
IN_TRASH = _VERSIONS.c.trashed_at.is_not(None) & _VERSIONS.c.purged_at.is_(None)


# As a parameter it would be written into the text anew whenever the statement runs.
_COMMA: Any = literal_column("','")
_LINE: Any = literal_column("'\n'")
_EQUALS: Any = literal_column("'='")
_PARENT, _MODEL_OF_PARENT = _VERSIONS.alias("parent"), _MODELS.alias("model_of_parent")
PARENT_NAME = case((_PARENT.c.id.is_not(None), _MODEL_OF_PARENT.c.name)).label("parent_name")


def beside_parents(versions: Any) -> Any:
    """Join to versions the ones that they were trained from, where these are here."""
    is_it = (_PARENT.c.number == _VERSIONS.c.parent_number) & (_PARENT.c.record == _VERSIONS.c.parent_record)
    models = versions.outerjoin(_MODEL_OF_PARENT, _MODEL_OF_PARENT.c.uid == _VERSIONS.c.parent_uid)
    return models.outerjoin(_PARENT, (_PARENT.c.model_id == _MODEL_OF_PARENT.c.id) & is_it)


def whole(chosen: Select[Any], by_place: bool | None = None) -> Reading[rows.MeasuredVersion]:
    """Return the statement for the entries whose version ids another one selects, newest first.

    One row a metric, so that one statement is enough and the floats come as the database has them.

    Args:
        by_place: sort by what is selected as ``place`` beside the id: the largest first (True), or the smallest.
    """
    ids = chosen.subquery("chosen")
    aliases = select(func.aggregate_strings(_ALIASES.c.name, _COMMA)).where(_ALIASES.c.version_id == _VERSIONS.c.id)
    tag = _TAGS.c.key.concat(_EQUALS).concat(_TAGS.c.value)
    tags = select(func.aggregate_strings(tag, _LINE)).where(_TAGS.c.version_id == _VERSIONS.c.id)
    kinds = select(func.aggregate_strings(_DOCUMENTS.c.kind, _COMMA)).where(
        _DOCUMENTS.c.version_id == _VERSIONS.c.id,
        *(_DOCUMENTS.c.kind != kind for kind in ("manifest", "build", "places", "upload")),
    )
    place = [] if by_place is None else [ids.c.place]
    order = [*(each.desc() if by_place else each for each in place), _VERSIONS.c.id.desc(), _METRICS.c.key]
    former = select(func.aggregate_strings(_FORMER_NAMES.c.name, _COMMA)).where(
        _FORMER_NAMES.c.model_id == _VERSIONS.c.model_id
    )
    versions = (
        select(
            *place,
            _MODELS.c.name,
            _MODELS.c.uid,
            *_VERSIONS.c,
            PARENT_NAME,
            aliases.scalar_subquery().label("aliases"),
            tags.scalar_subquery().label("tags"),
            kinds.scalar_subquery().label("attachments"),
            former.scalar_subquery().label("former_names"),
            _METRICS.c.key.label("metric"),
            _METRICS.c.value.label("figure"),
        )
        .select_from(ids)
        .join(_VERSIONS, _VERSIONS.c.id == ids.c.id)
        .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
        .outerjoin(_METRICS, _METRICS.c.version_id == _VERSIONS.c.id)
    )
    told: Reading[rows.MeasuredVersion] = beside_parents(versions).order_by(*order)
    return told


_MODEL_ID = select(_MODELS.c.id).where(_same("name", _MODELS.c.name)).scalar_subquery()
_IS_OF_MODEL = _VERSIONS.c.model_id == _MODEL_ID
# Whatever it is called by the time that this is asked.
_IS_OF_ENTRY = _VERSIONS.c.model_id == select(_MODELS.c.id).where(_same("uid", _MODELS.c.uid)).scalar_subquery()
_OF_MODEL = select(_VERSIONS.c.id).where(_IS_OF_MODEL)
# 'g' sorts after every hexadecimal digit, so from `prefix` to `prefixg` is the prefix, by the index.
_HAS_DIGEST = (_VERSIONS.c.weights >= bindparam("low")) & (_VERSIONS.c.weights < bindparam("high"))
_NEWEST = _OF_MODEL.order_by(_VERSIONS.c.number.desc()).limit(1)

BY_ID = whole(select(_VERSIONS.c.id).where(_same("version", _VERSIONS.c.id)))
BY_NUMBER = whole(_OF_MODEL.where(_same("number", _VERSIONS.c.number)))
BY_ALIAS = whole(
    select(_ALIASES.c.version_id.label("id")).where(_ALIASES.c.model_id == _MODEL_ID, _same("alias", _ALIASES.c.name))
)
NEWEST, NEWEST_IN_TRASH = (whole(_NEWEST.where(state)) for state in (IS_LIVE, IN_TRASH))
BY_DIGEST, BY_DIGEST_IN_TRASH = (whole(_OF_MODEL.where(state, _HAS_DIGEST)) for state in (IS_LIVE, IN_TRASH))


def _are(name: str | None, trashed: bool) -> list[ColumnElement[bool]]:
    """Return the conditions of versions in the trash or out of it, of a model (the parameter ``name``) or of all."""
    return [IN_TRASH if trashed else IS_LIVE, *([] if name is None else [_IS_OF_MODEL])]


def count(name: str | None, trashed: bool) -> Reading[rows.Total]:
    """Return the statement for the number of versions."""
    return select(func.count().label("total")).select_from(_VERSIONS).where(*_are(name, trashed))


# Names

MODEL_NAMES: Reading[rows.Name] = select(_MODELS.c.name)
_OF_THIS_MODEL = (_VERSIONS.c.model_id == _MODELS.c.id) & IS_LIVE
_LIVE = select(func.count()).select_from(_VERSIONS).where(_OF_THIS_MODEL).correlate(_MODELS)
_LAST = select(_VERSIONS.c.id).where(_OF_THIS_MODEL).order_by(_VERSIONS.c.number.desc()).limit(1).correlate(_MODELS)
_NEWEST_OF_MODEL = _VERSIONS.alias("newest_of_model")
MODELS: Reading[rows.LiveModel] = (
    select(
        _MODELS.c.name,
        _MODELS.c.uid,
        _LIVE.scalar_subquery().label("live"),
        _NEWEST_OF_MODEL.c.number.label("newest"),
        _NEWEST_OF_MODEL.c.created_at.label("changed_at"),
    )
    .select_from(_MODELS)
    .join(_NEWEST_OF_MODEL, _NEWEST_OF_MODEL.c.id == _LAST.scalar_subquery())
    .order_by(_MODELS.c.name)
)
"""Those with a version outside the trash; the newest is found by an index, so that the others are only counted."""
ALIAS_NAMES: Reading[rows.Name] = select(_ALIASES.c.name).where(_ALIASES.c.model_id == _MODEL_ID)
VERSIONS_OF_MODEL: Reading[rows.State] = (
    select(_VERSIONS.c.number, _VERSIONS.c.weights, _VERSIONS.c.trashed_at, _VERSIONS.c.purged_at)
    .where(_IS_OF_MODEL)
    .order_by(_VERSIONS.c.number)
)
_HELD: Reading[rows.Held] = (
    select(
        _VERSIONS.c.id,
        _VERSIONS.c.model_id,
        _MODELS.c.name,
        _VERSIONS.c.trashed_at,
        _VERSIONS.c.purged_at,
        _VERSIONS.c.weights,
    )
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(_same("number", _VERSIONS.c.number))
)
VERSION, NUMBERED = _HELD.where(_same("uid", _MODELS.c.uid)), _HELD.where(_same("name", _MODELS.c.name))
DOCUMENTS_OF: Reading[rows.Document] = (
    select(_DOCUMENTS.c.kind, _DOCUMENTS.c.body)
    .join(_VERSIONS, _VERSIONS.c.id == _DOCUMENTS.c.version_id)
    .where(_IS_OF_ENTRY, _same("number", _VERSIONS.c.number))
)
DOCUMENT = DOCUMENTS_OF.where(_same("kind", _DOCUMENTS.c.kind))

# A new version, or more about one

MODEL: Reading[rows.Model] = select(_MODELS.c.id, _MODELS.c.next_number, _MODELS.c.uid).where(
    _same("name", _MODELS.c.name)
)
CARD: Reading[rows.Card] = select(_MODELS.c.id, _MODELS.c.card).where(_same("name", _MODELS.c.name))
SET_CARD = update(_MODELS).where(_same("model", _MODELS.c.id))
ADD_MODEL = insert(_MODELS)
TAKE_NUMBER = update(_MODELS).where(_same("model", _MODELS.c.id)).values(next_number=_MODELS.c.next_number + 1)
SAME_WEIGHTS: Reading[rows.Twin] = (
    select(*(_VERSIONS.c[column] for column in rows.Twin._fields))
    .where(_same("model", _VERSIONS.c.model_id), _same("weights", _VERSIONS.c.weights), IS_LIVE)
    .order_by(_VERSIONS.c.number.desc())
)
ADD_VERSION = insert(_VERSIONS)
CHANGE_MODEL = update(_MODELS).where(_same("model", _MODELS.c.id))
CHANGE_VERSION = update(_VERSIONS).where(_same("version", _VERSIONS.c.id))
"""The other parameters are the columns that change, as of ``CHANGE_MODEL``."""
NOTE: Reading[rows.Note] = select(_VERSIONS.c.note).where(_same("version", _VERSIONS.c.id))
ADD_DOCUMENT = insert(_DOCUMENTS)
DOCUMENTS: Reading[rows.Document] = select(_DOCUMENTS.c.kind, _DOCUMENTS.c.body).where(
    _same("version", _DOCUMENTS.c.version_id)
)
REPLACE_MANIFEST = update(_DOCUMENTS).where(_same("version", _DOCUMENTS.c.version_id), _DOCUMENTS.c.kind == "manifest")
METRICS: Reading[rows.Metric] = select(_METRICS.c.key, _METRICS.c.value).where(_same("version", _METRICS.c.version_id))
SET_METRIC = AddOrReplace(_METRICS).inline()
DROP_METRIC = delete(_METRICS).where(_same("version", _METRICS.c.version_id), _same("metric", _METRICS.c.key))
TAGS: Reading[rows.Tag] = select(_TAGS.c.key, _TAGS.c.value).where(_same("version", _TAGS.c.version_id))
SET_TAG = AddOrReplace(_TAGS).inline()
DROP_TAG = delete(_TAGS).where(_same("version", _TAGS.c.version_id), _same("tag", _TAGS.c.key))
WITH_RECORD: Reading[rows.Identified] = (
    select(_VERSIONS.c.id, _MODELS.c.uid, _VERSIONS.c.number, _VERSIONS.c.origin)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(_same("record", _VERSIONS.c.record))
    .order_by(_VERSIONS.c.id)
)
"""Few: versions that are in everything the same."""
BUILDABLE_FIRST = (_VERSIONS.c.builder.is_(None), _VERSIONS.c.model_class.is_(None), _VERSIONS.c.id.desc())
"""Of versions with the same weights, first those of which a load can make the model, the newest of them first."""
WITH_WEIGHTS: Reading[rows.Id] = (
    select(_VERSIONS.c.id).where(_same("weights", _VERSIONS.c.weights), IS_LIVE).order_by(*BUILDABLE_FIRST)
)
WHOLE_WITH_WEIGHTS: Reading[rows.MeasuredVersion] = whole(WITH_WEIGHTS.limit(1))

# Aliases

ALIASED: Reading[rows.Aliased] = (
    select(_VERSIONS.c.id, _VERSIONS.c.model_id, _VERSIONS.c.number, _VERSIONS.c.weights)
    .join(_ALIASES, _ALIASES.c.version_id == _VERSIONS.c.id)
    .where(_ALIASES.c.model_id == _MODEL_ID, _same("alias", _ALIASES.c.name))
)
POINT_ALIAS = AddOrReplace(_ALIASES).inline()
DROP_ALIAS = delete(_ALIASES).where(_same("model", _ALIASES.c.model_id), _same("alias", _ALIASES.c.name))
ALIASES_OF_VERSION: Reading[rows.Name] = (
    select(_ALIASES.c.name).where(_same("version", _ALIASES.c.version_id)).order_by(_ALIASES.c.name)
)

# The trash

TRASHED_BEFORE: Reading[rows.Trashed] = (
    select(_VERSIONS.c.id, _VERSIONS.c.model_id, _MODELS.c.name, _VERSIONS.c.number, _VERSIONS.c.weights)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(IN_TRASH, _VERSIONS.c.trashed_at < bindparam("before"))
    .order_by(_VERSIONS.c.id)
)
_BLOBS_OF_VERSIONS: Reading[rows.Digest] = (
    select(_BLOBS.c.digest)
    .join(_NEEDS, _NEEDS.c.blob_id == _BLOBS.c.id)
    .join(_VERSIONS, _VERSIONS.c.id == _NEEDS.c.version_id)
)
NEEDED_BY_OTHERS = _BLOBS_OF_VERSIONS.distinct().where(
    _VERSIONS.c.trashed_at.is_(None) | (_VERSIONS.c.trashed_at >= bindparam("before"))
)
_LIVE_NEEDS, _LIVE_VERSIONS = _NEEDS.alias("live_needs"), _VERSIONS.alias("live_versions")
NEEDED_BY_TRASH_ALONE: Reading[rows.SizedBlob] = (
    select(_BLOBS.c.digest, _BLOBS.c.nbytes)
    .join(_NEEDS, _NEEDS.c.blob_id == _BLOBS.c.id)
    .where(
        _same("version", _NEEDS.c.version_id),
        ~exists()
        .where(_LIVE_NEEDS.c.blob_id == _BLOBS.c.id)
        .where(_LIVE_VERSIONS.c.id == _LIVE_NEEDS.c.version_id)
        .where(_LIVE_VERSIONS.c.trashed_at.is_(None)),
    )
)
"""Of the blobs of one version in the trash those that no live version needs."""
LIVE_ADAPTERS: Reading[rows.Numbered] = (
    select(_MODELS.c.name, _VERSIONS.c.number)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(_same("base", _VERSIONS.c.base), IS_LIVE)
    .order_by(_MODELS.c.name, _VERSIONS.c.number)
)


def _purge(table: Table) -> Delete:
    return delete(table).where(_same("version", table.c.version_id))


PURGE_NEEDS, PURGE_DOCUMENTS, PURGE_METRICS, PURGE_TAGS = map(_purge, (_NEEDS, _DOCUMENTS, _METRICS, _TAGS))

# Blobs

_DIGESTS: Select[Any] = select(column("value", String)).select_from(Elements(bindparam("digests", type_=String)))
PLACES: Reading[rows.Place] = select(_TENSORS.c.digest, _BLOBS.c.digest.label("blob"), _TENSORS.c.offset).join(
    _BLOBS, _BLOBS.c.id == _TENSORS.c.blob_id
)
LOCATE = PLACES.where(_TENSORS.c.digest.in_(_DIGESTS))
TENSORS_OF_BLOB = PLACES.where(_same("blob", _BLOBS.c.digest))
_IS_REFERRED_TO = exists().where(_TENSORS.c.blob_id == _BLOBS.c.id) | exists().where(_NEEDS.c.blob_id == _BLOBS.c.id)
BLOB_IDS: Reading[rows.Blob] = select(
    _BLOBS.c.digest, _BLOBS.c.id, _BLOBS.c.created_at, _IS_REFERRED_TO.label("is_referred_to")
).where(_BLOBS.c.digest.in_(_DIGESTS))
UNNEEDED_BLOB_IDS = BLOB_IDS.where(_BLOBS.c.id.not_in(select(_NEEDS.c.blob_id)))
NEEDED_BLOBS: Reading[rows.Digest] = select(_BLOBS.c.digest).where(_BLOBS.c.id.in_(select(_NEEDS.c.blob_id)))
KNOWN_BLOBS: Reading[rows.KnownBlob] = select(_BLOBS.c.digest, _BLOBS.c.nbytes, _BLOBS.c.created_at)
BLOBS_OF_VERSION = _BLOBS_OF_VERSIONS.where(_IS_OF_ENTRY, _same("number", _VERSIONS.c.number))
# Not by ranges of ids: where a hand made one of them a billion, millions of these would be empty.
_NEXT = select(_DOCUMENTS.c.version_id).distinct().where(_DOCUMENTS.c.version_id > bindparam("after"))
DOCUMENTS_AFTER: Reading[rows.DocumentOfVersion] = (
    select(_DOCUMENTS.c.version_id, _DOCUMENTS.c.body, _VERSIONS.c.trashed_at)
    .join(_VERSIONS, _VERSIONS.c.id == _DOCUMENTS.c.version_id)
    .where(_DOCUMENTS.c.version_id.in_(_NEXT.order_by(_DOCUMENTS.c.version_id).limit(500)))
    .order_by(_DOCUMENTS.c.version_id)
)
SET_BLOB_SIZE = update(_BLOBS).where(_same("blob", _BLOBS.c.digest))
_KEYED = (_BLOBS, _TENSORS, _NEEDS, schema.FILE_DIGESTS)
ADD_BLOB, ADD_TENSOR, ADD_NEED, ADD_FILE_DIGEST = (_AddUnlessThere(table).inline() for table in _KEYED)
FORGET_TENSORS, FORGET_NEEDS = (delete(table).where(_same("blob", table.c.blob_id)) for table in (_TENSORS, _NEEDS))
FORGET_LOST_TENSORS, FORGET_LOST_NEEDS = (
    delete(table).where(table.c.blob_id.not_in(select(_BLOBS.c.id))) for table in (_TENSORS, _NEEDS)
)
FORGET_BLOB = delete(_BLOBS).where(_same("blob", _BLOBS.c.id))

# The trail, and what an audit compares with it; each of all models, or of the one that is named

_FACTS: Reading[rows.Version] = select(_MODELS.c.name, *_VERSIONS.c).join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
FACTS = _FACTS.where(_same("version", _VERSIONS.c.id))
NEEDS: Reading[rows.Digest] = (
    select(_BLOBS.c.digest)
    .join(_NEEDS, _NEEDS.c.blob_id == _BLOBS.c.id)
    .where(_same("version", _NEEDS.c.version_id))
    .order_by(_BLOBS.c.digest)
)


def _of_name(statement: Reading[R], of: ColumnElement[Any], name: str | None) -> Reading[R]:
    return statement if name is None else statement.where(of == name)


def facts_after(name: str | None) -> Reading[rows.Version]:
    """Return the statement for the facts of the next versions after one (the parameter ``after``)."""
    some = _FACTS.where(_VERSIONS.c.id > bindparam("after")).order_by(_VERSIONS.c.id).limit(1000)
    return _of_name(some, _MODELS.c.name, name)


def models_themselves(name: str | None) -> Reading[rows.ModelItself]:
    """Return the statement for what the table of models says: numbers to come, uids, cards."""
    return _of_name(select(_MODELS.c.name, _MODELS.c.next_number, _MODELS.c.uid, _MODELS.c.card), _MODELS.c.name, name)


def aliases(name: str | None = None) -> Reading[rows.Alias]:
    """Return the statement for the aliases and where they point."""
    all_of_them = (
        select(_MODELS.c.name, _ALIASES.c.name.label("alias"), _VERSIONS.c.number)
        .join(_ALIASES, _ALIASES.c.model_id == _MODELS.c.id)
        .join(_VERSIONS, _VERSIONS.c.id == _ALIASES.c.version_id)
        .order_by(_MODELS.c.name, _ALIASES.c.name)
    )
    return _of_name(all_of_them, _MODELS.c.name, name)
