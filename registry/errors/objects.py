"""Errors of buckets: what is not spelled as one, not there, not allowed, or not to be used from here."""

from __future__ import annotations

from registry.errors.blobs import ObjectsUnreachable
from registry.errors.root import RegistryError


class InvalidBucket(RegistryError):
    """A text is not the address of a bucket."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"'{url}' is not a valid address of blobs: {why}; give one such as s3://bucket/prefix")


class UnknownBucket(ObjectsUnreachable):
    """The server answers, and has no such bucket."""

    def __init__(self, where: str) -> None:
        RegistryError.__init__(
            self,
            f"there is no bucket for {where}; create it, or correct the address: the registry makes no buckets",
        )


class ObjectsForbidden(ObjectsUnreachable):
    """The server does not know the credentials, or does not let them do what is asked."""

    def __init__(self, where: str, reason: str, variables: str) -> None:
        RegistryError.__init__(
            self,
            f"{where} refuses these credentials ({reason}); set {variables} to ones that may read, write, list and "
            "delete there",
        )


class ClocksApart(ObjectsUnreachable):
    """The server refuses requests that are signed with another time than its own."""

    def __init__(self, where: str) -> None:
        RegistryError.__init__(
            self, f"the clock of this machine is not that of {where}, which refuses its requests; set the clock"
        )


class ObjectsAfterFork(ObjectsUnreachable):
    """A process was forked from one that had used a bucket, whose connections do not work in it."""

    def __init__(self, where: str) -> None:
        RegistryError.__init__(
            self,
            f"{where} cannot be used in this process, since it was forked from one that had used a bucket; load the "
            "version before the fork, after which it is in the cache, or start the process with the method 'spawn' "
            "(DataLoader: multiprocessing_context='spawn')",
        )


class LeaseLost(RegistryError):
    """A collection could not renew its lease, so that pushes no longer wait for it."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"the collection of {where} was held up for too long and has stopped before it deleted everything; run "
            "`registry gc` again"
        )
