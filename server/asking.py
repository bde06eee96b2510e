"""Who asks, and what of the home they may see and change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import JSONResponse

from registry.blobs.backends.local import LocalStore
from registry.catalog.catalog import Catalog
from registry.catalog.documents import entry_document, plain
from registry.catalog.entry import Entry
from registry.errors.catalog import ChangedVersion, UnknownModel
from registry.reference import parse

from .access import Caller, Role, caller_of
from .service import Service, service_of
from .telling import entry_for


@dataclass(frozen=True)
class Asked:
    """One request: who sent it, and the home that it is about. What it changes is changed in the sender's name."""

    service: Service
    caller: Caller
    _now: dict[str, str] = field(default_factory=dict)
    """What models are called now, by the names that events have."""

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
        return self.caller.sees_all

    def sees(self, model: str | None) -> bool:
        """Whether the caller may read a model, or what is about none."""
        return self.sees_all if model is None else self.caller.may(Role.READ, model)

    def sees_now(self, model: str | None) -> bool:
        """Whether the caller may read a model by the name that it has now, of which an event has an earlier one."""
        if model is None or self.sees_all:
            return self.sees_all
        if model not in self._now:
            try:
                self._now[model] = self.catalog.current(model)
            except UnknownModel:  # its last version is gone
                self._now[model] = model
        return self.sees(self._now[model])

    def entry(self, ref: str, role: Role = Role.READ, *, trashed: bool = False) -> Entry:
        """Return the version that a reference names, which the caller may read or change.

        Raises:
            NotAllowed, RegistryError
        """
        reference = parse(ref)
        with self._hiding_names():
            if not self.sees_all:
                # By a name that it had before, a model is asked for that has another one now.
                self.caller.require(role, self.catalog.current(reference.name), asked=reference.name)
            entry = self.catalog.resolve(reference, trashed=trashed)
        self.caller.require(role, entry.name, asked=reference.name)
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
        self.caller.require(role, now, asked=name)
        return now

    def visible(self, blobs: Iterable[str]) -> set[str]:
        """Return those blobs that a version needs which the caller may read: who knows a digest knows no bytes."""
        found = set(blobs)
        if self.sees_all:
            return found
        return {blob for blob in found if any(map(self.sees, self.catalog.models_with(blob)))}

    def answer_entry(self, entry: Entry | None) -> JSONResponse:
        """Answer with the document of an entry, the one that the command line prints, as the caller may read it."""
        return answer(None if entry is None else entry_document(entry_for(entry, self.caller)))

    def answer_entries(self, entries: Iterable[Entry], next: str | None = None) -> JSONResponse:
        """Answer with those entries that the caller may read, and where they go on."""
        seen = (entry_for(each, self.caller) for each in entries if self.sees(each.name))
        return answer_list(map(entry_document, seen), next)

    @contextlib.contextmanager
    def _hiding_names(self) -> Iterator[None]:
        """Tell a caller who may not read a model nothing else of it, such as that there is none."""
        try:
            yield
        except UnknownModel as error:
            self.caller.require(Role.READ, str(error.fields()["name"]))
            raise


def asked(request: Request) -> Asked:
    """Return a request with its sender.

    Raises:
        TokenNeeded, NotAllowed: whoever it is may not even read.
    """
    caller = caller_of(request)
    caller.require(Role.READ)
    return Asked(service_of(request), caller)


async def _asked(request: Request) -> Asked:
    # What is no coroutine the framework runs in another thread, and to wait for that takes longer.
    return asked(request)


Asking = Annotated[Asked, Depends(_asked)]


def answer(value: Any) -> JSONResponse:
    """Answer with the document of a value."""
    return JSONResponse(plain(value))


def answer_list(items: Iterable[Any], next: str | None = None) -> JSONResponse:
    """Answer with a list, and where it goes on."""
    return JSONResponse({"items": plain(list(items)), "next": next})
