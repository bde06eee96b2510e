"""Every statement of the catalog, in SQLAlchemy, on the tables of ``schema``; ``sql`` is what they compile to.

``python -m registry.catalog.statements`` writes ``sql.py`` anew, and a test compares. It is done beforehand because to
import SQLAlchemy's ORM takes longer than ``registry list`` may, and to execute by it five times what SQLite takes,
while every other process waits for the write lock. No column needs its conversions.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Select,
    String,
    bindparam,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql.elements import ClauseElement

from registry.catalog.schema import (
    Alias,
    Blob,
    Document,
    Event,
    Metric,
    Model,
    StoredTensor,
    Trail,
    Version,
    VersionBlob,
    table,
)

_MODELS, _VERSIONS, _METRICS, _ALIASES = table(Model), table(Version), table(Metric), table(Alias)
_DOCUMENTS, _EVENTS, _TRAIL = table(Document), table(Event), table(Trail)
_BLOBS, _TENSORS, _NEEDS = table(Blob), table(StoredTensor), table(VersionBlob)

_IS_LIVE = _VERSIONS.c.trashed_at.is_(None)
_IN_TRASH = _VERSIONS.c.trashed_at.is_not(None) & _VERSIONS.c.purged_at.is_(None)


def _same(name: str, of: Any) -> Any:
    return of == bindparam(name)


def _whole(chosen: Select[Any]) -> Select[Any]:
    """Return the statement for the entries whose version ids another one selects, newest first.

    One row a metric, so that one statement is enough and the floats come as SQLite has them.
    """
    ids = chosen.subquery("chosen")
    aliases = select(func.group_concat(_ALIASES.c.name)).where(_ALIASES.c.version_id == _VERSIONS.c.id)
    return (
        select(
            _MODELS.c.name,
            *_VERSIONS.c,
            aliases.scalar_subquery().label("aliases"),
            _METRICS.c.key.label("metric"),
            _METRICS.c.value.label("figure"),
        )
        .select_from(ids)
        .join(_VERSIONS, _VERSIONS.c.id == ids.c.id)
        .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
        .outerjoin(_METRICS, _METRICS.c.version_id == _VERSIONS.c.id)
        .order_by(_VERSIONS.c.id.desc(), _METRICS.c.key)
    )


_MODEL_ID = select(_MODELS.c.id).where(_same("name", _MODELS.c.name)).scalar_subquery()
_OF_MODEL = select(_VERSIONS.c.id).where(_VERSIONS.c.model_id == _MODEL_ID)
# 'g' sorts after every hexadecimal digit, so from `prefix` to `prefixg` is the prefix, by the index.
_HAS_DIGEST = (_VERSIONS.c.weights >= bindparam("low")) & (_VERSIONS.c.weights < bindparam("high"))


def _newest(state: Any) -> Select[Any]:
    return _whole(_OF_MODEL.where(state).order_by(_VERSIONS.c.number.desc()).limit(1))


BY_NUMBER = _whole(_OF_MODEL.where(_same("number", _VERSIONS.c.number)))
BY_ALIAS = _whole(
    select(_ALIASES.c.version_id.label("id")).where(_ALIASES.c.model_id == _MODEL_ID, _same("alias", _ALIASES.c.name))
)
NEWEST = _newest(_IS_LIVE)
NEWEST_IN_TRASH = _newest(_IN_TRASH)
BY_DIGEST = _whole(_OF_MODEL.where(_IS_LIVE, _HAS_DIGEST))
BY_DIGEST_IN_TRASH = _whole(_OF_MODEL.where(_IN_TRASH, _HAS_DIGEST))


def _listing(of_one_name: bool, trashed: bool, by_metric: bool) -> Select[Any]:
    chosen = select(_VERSIONS.c.id).where(_IN_TRASH if trashed else _IS_LIVE)
    if of_one_name:
        chosen = chosen.where(_VERSIONS.c.model_id == _MODEL_ID).order_by(_VERSIONS.c.number.desc())
    else:
        chosen = chosen.order_by(_VERSIONS.c.id.desc())
    if by_metric:
        chosen = chosen.join(_METRICS, _METRICS.c.version_id == _VERSIONS.c.id).where(
            _same("key", _METRICS.c.key), _METRICS.c.value.between(bindparam("low"), bindparam("high"))
        )
    return _whole(chosen.limit(bindparam("limit")))


_YES_NO = (False, True)
LISTINGS = {
    (of_one_name, trashed, by_metric): _listing(of_one_name, trashed, by_metric)
    for of_one_name in _YES_NO
    for trashed in _YES_NO
    for by_metric in _YES_NO
}
COUNTS = {
    trashed: select(func.count().label("versions")).select_from(_VERSIONS).where(_IN_TRASH if trashed else _IS_LIVE)
    for trashed in _YES_NO
}
COUNTS_OF_MODEL = {trashed: count.where(_VERSIONS.c.model_id == _MODEL_ID) for trashed, count in COUNTS.items()}
MODEL_NAMES = select(_MODELS.c.name)
MODELS = (
    select(
        _MODELS.c.name,
        func.count().label("live"),
        func.max(_VERSIONS.c.number).label("newest"),
        func.max(_VERSIONS.c.created_at).label("changed_at"),
    )
    .join(_VERSIONS, _VERSIONS.c.model_id == _MODELS.c.id)
    .where(_IS_LIVE)
    .group_by(_MODELS.c.id)
    .order_by(_MODELS.c.name)
)
ALIASES = (
    select(_MODELS.c.name, _ALIASES.c.name.label("alias"), _VERSIONS.c.number)
    .join(_ALIASES, _ALIASES.c.model_id == _MODELS.c.id)
    .join(_VERSIONS, _VERSIONS.c.id == _ALIASES.c.version_id)
    .order_by(_MODELS.c.name, _ALIASES.c.name)
)
ALIAS_NAMES = select(_ALIASES.c.name).where(_ALIASES.c.model_id == _MODEL_ID)
VERSIONS_OF_MODEL = (
    select(_VERSIONS.c.number, _VERSIONS.c.weights, _VERSIONS.c.trashed_at, _VERSIONS.c.purged_at)
    .where(_VERSIONS.c.model_id == _MODEL_ID)
    .order_by(_VERSIONS.c.number)
)
VERSION = select(
    _VERSIONS.c.id, _VERSIONS.c.model_id, _VERSIONS.c.trashed_at, _VERSIONS.c.purged_at, _VERSIONS.c.weights
).where(_VERSIONS.c.model_id == _MODEL_ID, _same("number", _VERSIONS.c.number))
DOCUMENT = (
    select(_DOCUMENTS.c.body)
    .join(_VERSIONS, _VERSIONS.c.id == _DOCUMENTS.c.version_id)
    .where(
        _VERSIONS.c.model_id == _MODEL_ID,
        _same("number", _VERSIONS.c.number),
        _same("kind", _DOCUMENTS.c.kind),
    )
)

# A new version, or more about one

MODEL = select(_MODELS.c.id, _MODELS.c.next_number).where(_same("name", _MODELS.c.name))
ADD_MODEL = insert(_MODELS)
TAKE_NUMBER = update(_MODELS).where(_same("model", _MODELS.c.id)).values(next_number=_MODELS.c.next_number + 1)
SAME_WEIGHTS = (
    select(
        _VERSIONS.c.id,
        _VERSIONS.c.number,
        _VERSIONS.c.record,
        _VERSIONS.c.model_class,
        _VERSIONS.c.init,
        _VERSIONS.c.init_as,
        _VERSIONS.c.unwrapping,
    )
    .where(_same("model", _VERSIONS.c.model_id), _same("weights", _VERSIONS.c.weights), _IS_LIVE)
    .order_by(_VERSIONS.c.number.desc())
)
ADD_VERSION = insert(_VERSIONS)
ADD_DOCUMENT = insert(_DOCUMENTS)
DOCUMENTS = select(_DOCUMENTS.c.kind, _DOCUMENTS.c.body).where(_same("version", _DOCUMENTS.c.version_id))
REPLACE_MANIFEST = (
    update(_DOCUMENTS)
    .where(_same("version", _DOCUMENTS.c.version_id), _DOCUMENTS.c.kind == literal("manifest"))
    .values(body=bindparam("text"))
)
METRICS = select(_METRICS.c.key, _METRICS.c.value).where(_same("version", _METRICS.c.version_id))
SET_METRIC = insert(_METRICS).prefix_with("OR REPLACE")
NOTE = select(_VERSIONS.c.note).where(_same("version", _VERSIONS.c.id))
SET_NOTE = update(_VERSIONS).where(_same("version", _VERSIONS.c.id)).values(note=bindparam("text"))

# Aliases

ALIASED = (
    select(_VERSIONS.c.id, _VERSIONS.c.model_id, _VERSIONS.c.number, _VERSIONS.c.weights)
    .join(_ALIASES, _ALIASES.c.version_id == _VERSIONS.c.id)
    .where(_ALIASES.c.model_id == _MODEL_ID, _same("alias", _ALIASES.c.name))
)
POINT_ALIAS = insert(_ALIASES).prefix_with("OR REPLACE")
DROP_ALIAS = delete(_ALIASES).where(_same("model", _ALIASES.c.model_id), _same("alias", _ALIASES.c.name))
ALIASES_OF_VERSION = select(_ALIASES.c.name).where(_same("version", _ALIASES.c.version_id)).order_by(_ALIASES.c.name)

# The trash

MARK_TRASHED = update(_VERSIONS).where(_same("version", _VERSIONS.c.id)).values(trashed_at=bindparam("at"))
MARK_PURGED = update(_VERSIONS).where(_same("version", _VERSIONS.c.id)).values(purged_at=bindparam("at"))
TRASHED_BEFORE = (
    select(_VERSIONS.c.id, _VERSIONS.c.model_id, _MODELS.c.name, _VERSIONS.c.number, _VERSIONS.c.weights)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(_IN_TRASH, _VERSIONS.c.trashed_at < bindparam("before"))
    .order_by(_VERSIONS.c.id)
)
NEEDED_BY_OTHERS = (
    select(_BLOBS.c.digest)
    .distinct()
    .join(_NEEDS, _NEEDS.c.blob_id == _BLOBS.c.id)
    .join(_VERSIONS, _VERSIONS.c.id == _NEEDS.c.version_id)
    .where(_VERSIONS.c.trashed_at.is_(None) | (_VERSIONS.c.trashed_at >= bindparam("before")))
)
PURGE_NEEDS = delete(_NEEDS).where(_same("version", _NEEDS.c.version_id))
PURGE_DOCUMENTS = delete(_DOCUMENTS).where(_same("version", _DOCUMENTS.c.version_id))
PURGE_METRICS = delete(_METRICS).where(_same("version", _METRICS.c.version_id))

# Blobs

# Any number of digests as one parameter, a JSON array.
_DIGESTS: Select[Any] = select(column("value", String)).select_from(func.json_each(bindparam("digests")))
LOCATE = (
    select(_TENSORS.c.digest, _BLOBS.c.digest.label("blob"), _TENSORS.c.offset)
    .join(_BLOBS, _BLOBS.c.id == _TENSORS.c.blob_id)
    .where(_TENSORS.c.digest.in_(_DIGESTS))
)
BLOB_IDS = select(_BLOBS.c.digest, _BLOBS.c.id).where(_BLOBS.c.digest.in_(_DIGESTS))
UNNEEDED_BLOB_IDS = BLOB_IDS.where(_BLOBS.c.id.not_in(select(_NEEDS.c.blob_id)))
NEEDED_BLOBS = select(_BLOBS.c.digest).where(_BLOBS.c.id.in_(select(_NEEDS.c.blob_id)))
BLOB_TIMES = select(_BLOBS.c.digest, _BLOBS.c.created_at)
PLACES = select(_TENSORS.c.digest, _BLOBS.c.digest.label("blob"), _TENSORS.c.offset).join(
    _BLOBS, _BLOBS.c.id == _TENSORS.c.blob_id
)
KNOWN_BLOBS = select(_BLOBS.c.digest, _BLOBS.c.nbytes)
BLOBS_OF_VERSION = (
    select(_BLOBS.c.digest)
    .join(_NEEDS, _NEEDS.c.blob_id == _BLOBS.c.id)
    .join(_VERSIONS, _VERSIONS.c.id == _NEEDS.c.version_id)
    .where(_VERSIONS.c.model_id == _MODEL_ID, _same("number", _VERSIONS.c.number))
)
TENSORS_OF_BLOB = (
    select(_TENSORS.c.digest, _TENSORS.c.offset)
    .join(_BLOBS, _BLOBS.c.id == _TENSORS.c.blob_id)
    .where(_same("blob", _BLOBS.c.digest))
)
DOCUMENTS_AFTER = (
    select(_DOCUMENTS.c.version_id, _DOCUMENTS.c.body, _VERSIONS.c.trashed_at)
    .join(_VERSIONS, _VERSIONS.c.id == _DOCUMENTS.c.version_id)
    .where(_DOCUMENTS.c.version_id > bindparam("after"), _DOCUMENTS.c.version_id <= bindparam("last"))
)
LAST_VERSION = select(func.max(_VERSIONS.c.id).label("last"))
SET_BLOB_SIZE = update(_BLOBS).where(_same("blob", _BLOBS.c.digest)).values(nbytes=bindparam("size"))
ADD_BLOB = insert(_BLOBS).prefix_with("OR IGNORE")
ADD_TENSOR = insert(_TENSORS).prefix_with("OR IGNORE")
ADD_NEED = insert(_NEEDS).prefix_with("OR IGNORE")
FORGET_TENSORS = delete(_TENSORS).where(_same("blob", _TENSORS.c.blob_id))
FORGET_LOST_TENSORS = delete(_TENSORS).where(_TENSORS.c.blob_id.not_in(select(_BLOBS.c.id)))
FORGET_LOST_NEEDS = delete(_NEEDS).where(_NEEDS.c.blob_id.not_in(select(_BLOBS.c.id)))
FORGET_BLOB = delete(_BLOBS).where(_same("blob", _BLOBS.c.id))

# The trail, and what an audit compares with it

FACTS = (
    select(_MODELS.c.name, *_VERSIONS.c)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(_same("version", _VERSIONS.c.id))
)
NEEDS = (
    select(_BLOBS.c.digest)
    .join(_NEEDS, _NEEDS.c.blob_id == _BLOBS.c.id)
    .where(_same("version", _NEEDS.c.version_id))
    .order_by(_BLOBS.c.digest)
)
ROWS_AFTER = (
    select(_MODELS.c.name, *_VERSIONS.c)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(_VERSIONS.c.id > bindparam("after"))
    .order_by(_VERSIONS.c.id)
    .limit(1000)
)
ROWS_OF_MODEL_AFTER = ROWS_AFTER.where(_VERSIONS.c.model_id == _MODEL_ID)
NEXT_NUMBERS = select(_MODELS.c.name, _MODELS.c.next_number)
NEXT_NUMBER_OF_MODEL = NEXT_NUMBERS.where(_same("name", _MODELS.c.name))
ALIASES_OF_MODEL = ALIASES.where(_same("name", _MODELS.c.name))
TRAIL_END = select(_TRAIL.c.length, _TRAIL.c.hash)
ADD_EVENT = insert(_EVENTS)
MOVE_TRAIL_END = update(_TRAIL).values(length=bindparam("length"), hash=bindparam("hash"))
EVENTS = select(_EVENTS).order_by(_EVENTS.c.id.desc()).limit(bindparam("limit"))
EVENTS_OF_MODEL = EVENTS.where(_same("name", _EVENTS.c.name))
EVENTS_AFTER = select(_EVENTS).where(_EVENTS.c.id > bindparam("after")).order_by(_EVENTS.c.id).limit(5000)
EVENTS_OF_MODEL_AFTER = EVENTS_AFTER.where(_same("name", _EVENTS.c.name))
PUSHES = (
    select(func.count().label("pushes"))
    .select_from(_EVENTS)
    .where(_same("name", _EVENTS.c.name), _same("reference", _EVENTS.c.reference), _EVENTS.c.verb == literal("push"))
)
EVENT_COUNT = select(func.count().label("length")).select_from(_EVENTS)
LAST_EVENT = select(_EVENTS.c.id, _EVENTS.c.hash).order_by(_EVENTS.c.id.desc()).limit(1)


def generate() -> str:
    """Return the source of ``sql.py``."""
    parts = [
        '"""What ``statements`` compiles to; written by ``python -m registry.catalog.statements``, not by hand."""',
        "# fmt: off",
    ]
    for name, statement in globals().items():
        if not name.isupper() or name.startswith("_"):
            continue
        if isinstance(statement, Mapping):
            inner = "\n".join(f"{key!r}: {_source(part)}," for key, part in statement.items())
            parts.append(f"{name} = {{\n{inner}\n}}")
        else:
            parts.append(f"{name} = {_source(statement)}")
    return "\n\n".join(parts) + "\n"


def _source(statement: ClauseElement) -> str:
    """Compile a statement, its constants written out, as a literal of Python."""
    compiled = statement.compile(dialect=SQLiteDialect_pysqlite(paramstyle="named"))
    text = textwrap.fill(" ".join(str(compiled).split()), 110, break_long_words=False, break_on_hyphens=False)
    for name, value in compiled.params.items():
        if value is not None:
            text = re.sub(rf":{name}\b", repr(value), text)
    return f'"""\n{text}\n"""'


if __name__ == "__main__":
    Path(__file__).with_name("sql.py").write_text(generate(), encoding="utf-8")
