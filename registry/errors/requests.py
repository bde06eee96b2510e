"""Errors of what is sent to a server, whatever it asks for."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.catalog import quoted
from registry.errors.root import RegistryError, size


class NoSuchPage(RegistryError):
    """Nothing is at this path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"there is nothing at {quoted(path)}; /api/v1/openapi.json lists what there is")


class WrongMethod(RegistryError):
    """A path is not for this method."""

    def __init__(self, method: str, path: str, allowed: Sequence[str]) -> None:
        way = f"; it takes {', '.join(allowed)}" if allowed else ""
        super().__init__(f"{quoted(path)} does not take {quoted(method)}{way}")


class InvalidRequest(RegistryError):
    """A request cannot be read."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the request cannot be read: {why}")


class OversizedHeaders(RegistryError):
    """A request's first line and headers are larger than a server takes."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"the request's address and headers are larger than the {size(most)} that are taken; send less"
        )


class OversizedBody(RegistryError):
    """A request brings more than its path takes."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the request's body is larger than the {size(most)} that are taken here; send less")


class SlowRequest(RegistryError):
    """The rest of a request did not come."""

    def __init__(self, received: int) -> None:
        super().__init__(f"the request was given up after {size(received)}: the rest came too slowly; send it again")


class ForeignHost(RegistryError):
    """A request names a server by a name that it does not have: a page elsewhere may have made a browser send it."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"this server is not called {quoted(host)}; use its address, or start it with --allowed-host and that name"
        )


class ForeignOrigin(RegistryError):
    """A page of another site made a browser send a request."""

    def __init__(self, origin: str | None) -> None:
        whose = "no page" if origin is None else f"a page of {quoted(origin)}"
        super().__init__(
            f"the request comes from {whose}, and not from this server's own; open its page, and try again"
        )


class ServerBusy(RegistryError):
    """A server does all that it can do at once."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the server works on {most} requests already; try again in a few seconds")


class ServerStopping(RegistryError):
    """A server ends while it works on a request."""

    def __init__(self) -> None:
        super().__init__("the server was stopped before this was done; try again when it runs")


class ServerFailed(RegistryError):
    """A server met a fault of its own; what it was stands in its log alone."""

    def __init__(self, number: str) -> None:
        super().__init__(
            f"the server met a fault of its own; whoever runs it finds it in its log as {number}; tell them that number"
        )


class CannotListen(RegistryError):
    """A server cannot be reached at an address."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"cannot serve at {where}: {why}")
