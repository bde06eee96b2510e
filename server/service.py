"""What every request of a server works with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from starlette.requests import Request

from registry.home.home import Home

from .access import Access
from .settings import Settings


@dataclass(frozen=True)
class Service:
    """One home, who may do what with it, and how it is served."""

    settings: Settings

    @cached_property
    def home(self) -> Home:
        return Home(self.settings.home)

    @cached_property
    def access(self) -> Access:
        return Access(self.home, lets_anybody_read=self.settings.lets_anybody_read)

    def open(self) -> None:
        """Open the catalog before the first request, so that what is wrong with the home is said at once."""
        _ = self.home.database

    def close(self) -> None:
        self.home.close()


def service_of(request: Request) -> Service:
    """Return what the application was made with."""
    service: Service = request.app.state.service
    return service
