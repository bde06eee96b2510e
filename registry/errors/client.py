"""Errors of a registry that is served: what stands between the client and the server, and what only the latter does."""

from __future__ import annotations

from registry.errors.catalog import quoted
from registry.errors.root import RegistryError


class ServerUnreachable(RegistryError):
    """The server does not answer."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"cannot reach the registry at {url}: {reason}; check the address, and that `registry serve` runs there"
        )


class UnexpectedAnswer(RegistryError):
    """The server answered something that this program cannot read."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(
            f"the registry at {url} answered what this program cannot read: {what}; check that the address is that of "
            "`registry serve`, and that both have the same version"
        )


class OnServerAlone(RegistryError):
    """A verb works on the files of a home, which are the server's."""

    def __init__(self, verb: str, url: str) -> None:
        super().__init__(f"`registry {verb}` runs on the host that serves {url}; run it there, with the home's folder")


class FalseClaim(RegistryError):
    """What a client says of a version is not what its bytes are."""

    def __init__(self, why: str) -> None:
        super().__init__(f"nothing was stored, since what was sent is not what it says: {why}; push it again")


class UploadGone(RegistryError):
    """An upload is not there, or not any more."""

    def __init__(self, upload: str) -> None:
        super().__init__(f"there is no upload {quoted(upload)}, or it was given up; begin another")


class UploadElsewhere(RegistryError):
    """A piece does not follow what was received, or another request is sending one."""

    def __init__(self, upload: str, received: int) -> None:
        super().__init__(f"the upload {quoted(upload)} goes on at byte {received}; send the piece that begins there")
        self.received = received


class KeyUsedBefore(RegistryError):
    """An ``Idempotency-Key`` stands for another request."""

    def __init__(self, key: str, reference: str) -> None:
        super().__init__(
            f"the Idempotency-Key {quoted(key)} came with another request, which made {reference}; send this one with "
            "a key of its own"
        )


class Collected(RegistryError):
    """What a push means to share was collected since it asked; it looks again by itself."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; push again")
