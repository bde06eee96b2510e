"""What the catalog knows of blobs: where tensors lie, which files are needed, which may go."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from registry.catalog import statements
from registry.catalog.connection import Connection
from registry.catalog.database import Database
from registry.catalog.record import DECISIVE
from registry.catalog.version import Vanished

if TYPE_CHECKING:
    from registry.tensors.manifest import BlobRecord, Location, Manifest

_BEFORE_ALL = -(2**63)
"""An id before every one; what a hand made negative counts, too."""


def decode(body: bytes) -> Manifest:
    """Read a manifest as it is stored.

    Raises:
        ValueError: it is none.
    """
    from registry.tensors.manifest import Manifest

    return Manifest.decode(body)


PLACES = "places"
"""The document that says where the tensors of a copied version's documents lie here: a manifest, by digest.

What the documents say of it is under the record, and true where the version was pushed.
"""


def decode_documents(bodies: Mapping[str, bytes]) -> dict[str, Manifest]:
    """Read the documents that belong to what a version is, by kind, with their tensors where they lie here.

    Raises:
        ValueError: one is no document.
    """
    places = (
        {digest: stored.location for digest, stored in decode(bodies[PLACES]).tensors.items()}
        if PLACES in bodies
        else {}
    )
    return {kind: decode(bodies[kind]).relocated(places) for kind in DECISIVE if kind in bodies}


def locate(database: Database, digests: Iterable[str]) -> dict[str, Location]:
    """Return where tensors are stored, those that are."""
    from registry.tensors.manifest import Location

    rows = database.rows(statements.LOCATE, digests=_array(digests))
    return {row.digest: Location(row.blob, row.offset) for row in rows}


def store(connection: Connection, manifests: Sequence[Manifest], new: Sequence[BlobRecord], at: str) -> dict[str, int]:
    """Add new blobs and their tensors, and return the ids of all blobs that the manifests need.

    Raises:
        Vanished: a blob that is not new is not known any more.
    """
    _add(connection, {blob.digest: blob.nbytes for blob in new}, at)
    needed = {blob for manifest in manifests for blob in manifest.blobs} | {blob.digest for blob in new}
    rows = connection.rows(statements.BLOB_IDS, digests=_array(needed))
    ids = {row.digest: row.id for row in rows}
    # An id that is given out again, after somebody took the row of the last one out, has what led to that one.
    misled = [{"blob": row.id} for row in rows if row.created_at == at and row.is_referred_to]
    for statement in (statements.FORGET_TENSORS, statements.FORGET_NEEDS):
        connection.run_all(statement, misled)
    tensors = [tensor for manifest in manifests for tensor in manifest.tensors.values()]
    vanished = {tensor.digest for tensor in tensors if tensor.location.blob not in ids}
    if vanished:
        raise Vanished(f"{len(vanished)} blobs are no longer stored")
    fresh = {blob.digest for blob in new}
    added = {
        tensor.digest: {
            "digest": tensor.digest,
            "blob_id": ids[tensor.location.blob],
            "offset": tensor.location.offset,
        }
        for tensor in tensors
        if tensor.location.blob in fresh
    }
    connection.run_all(statements.ADD_TENSOR, list(added.values()))
    return ids


def ids(connection: Connection, digests: Iterable[str]) -> frozenset[int]:
    """Return the ids of blobs, of those that are known."""
    return frozenset(row.id for row in connection.rows(statements.BLOB_IDS, digests=_array(digests)))


def need(connection: Connection, version: int, blobs: Collection[int]) -> None:
    """Note that a version needs blobs."""
    connection.run_all(statements.ADD_NEED, [{"version_id": version, "blob_id": blob} for blob in blobs])


def referenced(database: Database) -> frozenset[str]:
    """Return the digests of the blobs that a version needs, in the trash or out of it."""
    return frozenset(row.digest for row in database.rows(statements.NEEDED_BLOBS)) | named(database)


def named(database: Database, before: str = "") -> frozenset[str]:
    """Return the blobs that are named by what versions hold; not by those that were trashed before a time.

    What a version needs stands in a table, too. Where the two differ, a row was lost, and nothing of either may go.
    """
    from registry.tensors.manifest import blobs_named

    found: set[str] = set()
    after = _BEFORE_ALL
    while rows := database.rows(statements.DOCUMENTS_AFTER, after=after):
        after = rows[-1].version_id
        for row in rows:
            # An edited row may hold anything; what it names is kept.
            if not isinstance(row.trashed_at, str) or row.trashed_at >= before:
                found |= blobs_named(row.body)
    return frozenset(found)


def needed_by(database: Database, uid: str, number: int) -> frozenset[str]:
    """Return the blobs that the table says a version needs."""
    return frozenset(row.digest for row in database.rows(statements.BLOBS_OF_VERSION, uid=uid, number=number))


def tensors_in(database: Database, blob: str) -> dict[str, int]:
    """Return the tensors that pushes find in a blob, by digest, with where they begin."""
    return {row.digest: row.offset for row in database.rows(statements.TENSORS_OF_BLOB, blob=blob)}


def known(database: Database) -> Mapping[str, int]:
    """Return the bytes of every blob that the catalog knows, by digest."""
    return {row.digest: row.nbytes for row in database.rows(statements.KNOWN_BLOBS)}


def restate(connection: Connection, version: int, sizes: Mapping[str, int], at: str) -> None:
    """Write again that a version needs blobs, given with their bytes, and how large these are."""
    _add(connection, sizes, at)
    connection.run_all(statements.SET_BLOB_SIZE, [{"blob": blob, "nbytes": size} for blob, size in sizes.items()])
    need(connection, version, ids(connection, sizes))


def forget(connection: Connection, digests: Iterable[str]) -> frozenset[str]:
    """Forget blobs that no version needs, and return which these were; the others stay."""
    rows = connection.rows(statements.UNNEEDED_BLOB_IDS, digests=_array(digests))
    blobs = [{"blob": row.id} for row in rows]
    connection.run_all(statements.FORGET_TENSORS, blobs)
    connection.run_all(statements.FORGET_BLOB, blobs)
    return frozenset(row.digest for row in rows)


def distrust(connection: Connection, digests: Iterable[str]) -> None:
    """Let no later push share the tensors of blobs that are damaged, or of rows that are gone."""
    rows = connection.rows(statements.BLOB_IDS, digests=_array(digests))
    connection.run_all(statements.FORGET_TENSORS, [{"blob": row.id} for row in rows])
    for statement in (statements.FORGET_LOST_TENSORS, statements.FORGET_LOST_NEEDS):
        connection.run(statement)


def _add(connection: Connection, sizes: Mapping[str, int], at: str) -> None:
    rows = [{"digest": blob, "nbytes": size, "created_at": at} for blob, size in sizes.items()]
    connection.run_all(statements.ADD_BLOB, rows)


def _array(digests: Iterable[str]) -> str:
    """Return any number of digests as one parameter."""
    return json.dumps(list(digests))
