"""What the files hash to that are made of weights: for clients that know a file by its SHA-256.

A file's bytes follow from the weights, their ties and the number of the form alone, so this is true of every version
that has them, in whatever home. Where a row is missing, the file can be hashed again.
"""

from __future__ import annotations

from typing import NamedTuple

from registry.catalog import file_statements, statements
from registry.catalog.access import Access


class FileKey(NamedTuple):
    """What decides the bytes of a file of weights."""

    weights: str
    """Digest of the weights, by the names in the file."""
    ties: str
    """Digest of the ties that the file tells of; empty where it tells of none."""
    format: int
    """Of the form that the file is written in."""


class FileDigests(Access):
    """What files hash to. To note it is no event: nothing is told of a version that was not true before."""

    def file_sha256(self, key: FileKey) -> str | None:
        """Return what a file hashes to, or None where nobody has hashed it yet."""
        rows = self._database.rows(file_statements.FILE_DIGEST, **key._asdict())
        return rows[0].sha256 if rows else None

    def documents_of(self, name: str, kind: str) -> dict[int, bytes]:
        """Return one document of every live version of a model that has it, by the version's number, newest first."""
        rows = self._database.rows(file_statements.DOCUMENTS_OF_KIND, name=name, kind=kind)
        return {row.number: row.body for row in rows}

    def note_file_sha256(self, key: FileKey, sha256: str) -> None:
        """Note what a file hashes to.

        Raises:
            HomeReadOnly: the catalog cannot be written.
        """
        with self._database.write() as connection:
            connection.run(statements.ADD_FILE_DIGEST, **key._asdict(), sha256=sha256)
