"""Who asks, and what of the home they may see and change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import JSONResponse

from registry.blobs.backends.local import LocalStore
from registry.catalog.catalog import Catalog
from registry.catalog.documents import entry_document, plain
from registry.catalog.entry import Entry
from registry.errors.catalog import ChangedVersion, UnknownModel
from registry.reference import parse

from ..access import Caller, Role, caller_of
from ..service import Service, service_of


@dataclass(frozen=True)
class Asked:
    """One request: who sent it, and the home that it is about. What it changes is changed in the sender's name."""

    service: Service
    caller: Caller

    @property
    def catalog(self) -> Catalog:
        return self.service.home.database

    @property
    def store(self) -> LocalStore:
        store = self.service.home.blobs
        assert isinstance(store, LocalStore)
        return store

    @property
    def sees_all(self) -> bool:
        """Whether the caller may read every model."""
        return "*" in self.caller.models

    def sees(self, model: str | None) -> bool:
        """Whether the caller may read a model, or what is about none."""
        return self.sees_all if model is None else self.caller.may(Role.READ, model)

    def entry(self, ref: str, role: Role = Role.READ, *, trashed: bool = False) -> Entry:
        """Return the version that a reference names, which the caller may read or change.

        Raises:
            NotAllowed, RegistryError
        """
        reference = parse(ref)
        with self._hiding_names():
            # By a name that it had before, a model is asked for that has another one now.
            self.caller.require(role, self.catalog.current(reference.name))
            entry = self.catalog.resolve(reference, trashed=trashed)
        self.caller.require(role, entry.name)
        return entry

    def seen(self, ref: str, uid: str, digest: str | None, role: Role) -> Entry:
        """Return the very version that a caller has seen before.

        Raises:
            ChangedVersion: the reference names another one now.
        """
        entry = self.entry(ref, role, trashed=True)
        if entry.uid != uid or digest not in (None, entry.digest):
            raise ChangedVersion(ref)
        return entry

    def current(self, name: str, role: Role = Role.READ) -> str:
        """Return what a model is called now.

        Raises:
            NotAllowed, UnknownModel
        """
        with self._hiding_names():
            now = self.catalog.current(name)
        self.caller.require(role, now)
        return now

    def visible(self, blobs: Iterable[str]) -> set[str]:
        """Return those blobs that a version needs which the caller may read: who knows a digest knows no bytes."""
        found = set(blobs)
        if self.sees_all:
            return found
        return {blob for blob in found if any(map(self.sees, self.catalog.models_with(blob)))}

    @contextlib.contextmanager
    def _hiding_names(self) -> Iterator[None]:
        """Tell a caller who may not read every model no near names."""
        try:
            yield
        except UnknownModel as error:
            name = str(error.fields()["name"])
            if self.sees_all:
                raise
            self.caller.require(Role.READ, name)
            raise UnknownModel(name, ()) from None


def asked(request: Request) -> Asked:
    """Return a request with its sender.

    Raises:
        TokenNeeded, NotAllowed: whoever it is may not even read.
    """
    caller = caller_of(request)
    caller.require(Role.READ)
    return Asked(service_of(request), caller)


Asking = Annotated[Asked, Depends(asked)]


def answer(value: Any) -> JSONResponse:
    """Answer with the document of a value."""
    return JSONResponse(plain(value))


def answer_entry(entry: Entry | None) -> JSONResponse:
    """Answer with the document of an entry, the one that the command line prints."""
    return JSONResponse(None if entry is None else plain(entry_document(entry)))


def answer_list(items: Iterable[Any], next: str | None = None) -> JSONResponse:
    """Answer with a list, and where it goes on."""
    documents = [entry_document(item) if isinstance(item, Entry) else item for item in items]
    return JSONResponse({"items": plain(documents), "next": next})
