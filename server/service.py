"""What every request of a server works with."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from registry.home.home import Home

from .access import Access
from .settings import Settings


class Service:
    """One home, who may do what with it, and how it is served."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = Home(settings.home)
        self.access = Access(self.home, lets_anybody_read=settings.lets_anybody_read)

    def open(self) -> None:
        """Open the catalog, before several threads would; make it where there is none, for what others push.

        Raises:
            RegistryError: it cannot be.
        """
        self.home.make()
        self.home.database.names()

    def close(self) -> None:
        self.home.close()


def service_of(request: HTTPConnection) -> Service:
    """Return what the application was made with."""
    service: Service = request.app.state.service
    return service
