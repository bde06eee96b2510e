"""Pushes in the background: copied to memory of their own at once, written while the training goes on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from registry.canonical.signature import TensorSpec
from registry.catalog.entry import Entry
from registry.checkpoints.weights import TensorSource
from registry.errors.root import RegistryError

_last: PendingEntry | None = None


@dataclass(frozen=True)
class Copied:
    """A tensor copied to memory that nobody writes to, as a ``TensorSource``."""

    spec: TensorSpec
    content: bytes
    identity: Hashable

    def buffer(self) -> memoryview:
        return memoryview(self.content)


class PendingEntry:
    """A push in the background. Leaving the process waits for it; what fails unseen is said on standard error."""

    def __init__(self, name: str, work: Callable[[], Entry], share: Callable[[Callable[[], Entry]], Entry]) -> None:
        self._name = name
        self._entry: Entry | None = None
        self._error: BaseException | None = None
        self._seen = False
        self._share = share
        # Not a daemon: the interpreter waits for it when it ends.
        self._thread = threading.Thread(target=self._run, args=(work,), name=f"push of {name}")
        self._thread.start()

    def wait(self) -> Entry:
        """Return the entry when it is stored; in a job of several processes every rank has to call it.

        Raises:
            RegistryError: nothing was stored.
        """
        return self._share(self._result)

    def _result(self) -> Entry:
        self._thread.join()
        self._seen = True
        if self._error is not None:
            raise self._error
        assert self._entry is not None
        return self._entry

    def _run(self, work: Callable[[], Entry]) -> None:
        try:
            self._entry = work()
        except BaseException as error:
            self._error = error
            if not threading.main_thread().is_alive():
                self.report()

    def report(self) -> None:
        """Say on standard error what was lost, unless ``wait`` has raised it."""
        if self._error is not None and not self._seen:
            self._seen = True
            why = str(self._error) if isinstance(self._error, RegistryError) else repr(self._error)
            print(f"registry: a push of '{self._name}' in the background was lost: {why}", file=sys.stderr)

    def settle(self) -> None:
        """Wait for the end, and say what was lost."""
        self._thread.join()
        self.report()


def follow(pending: PendingEntry) -> None:
    """Make a push the one that the next has to wait for."""
    global _last
    _last = pending


def settle_last() -> None:
    """Wait for the push before, so that versions get their numbers in the order of the calls."""
    if _last is not None:
        _last.settle()


def copied(tensors: Mapping[str, TensorSource]) -> dict[str, TensorSource]:
    """Copy tensors to memory, the tied ones once."""
    memory: dict[Hashable, Copied] = {}
    for source in tensors.values():
        if source.identity not in memory:
            memory[source.identity] = Copied(source.spec, bytes(source.buffer()), ("copied", source.identity))
    return {name: memory[source.identity] for name, source in tensors.items()}
