"""Pushes in the background: copied to memory of their own at once, written while the training goes on."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Hashable, Mapping
from multiprocessing.util import Finalize

from registry.catalog.entry import Entry
from registry.errors.root import RegistryError, shown
from registry.errors.training import OfAnotherProcess
from registry.notebook import called
from registry.tensors.source import TensorBytes, TensorSource

_last: PendingEntry | None = None


class PendingEntry:
    """A push in the background. Leaving the process waits for it; what fails unseen is said on standard error."""

    def __init__(self, name: str, work: Callable[[], Entry]) -> None:
        self._name = name
        self._work = work
        self._entry: Entry | None = None
        self._error: BaseException | None = None
        self._seen = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def __repr__(self) -> str:
        if self._error is not None:
            return called(self, f"{self._name}: failed, and wait() raises why")
        stored = self._entry.ref if self._entry is not None else None
        return called(self, f"stored {stored}" if stored else f"{self._name}: not stored yet; wait() returns the entry")

    def start(self) -> None:
        """Work in the background; otherwise ``wait`` does, as on the ranks that only wait for the one that writes."""
        # Not a daemon: the interpreter waits for it when it ends.
        thread = threading.Thread(target=self._run, name=f"push of {self._name}")
        try:
            thread.start()
        except RuntimeError:  # there are as many as may be, or the interpreter ends
            self._run()
        self._thread = thread

    def wait(self) -> Entry:
        """Return the entry when it is stored.

        Raises:
            RegistryError: nothing was stored.
            OfAnotherProcess: this process was forked from the one that pushes.
        """
        self._finish()
        self._seen = True
        if self._error is not None:
            raise self._error
        assert self._entry is not None
        return self._entry

    def wait_aloud(self) -> None:
        """Wait for what runs in the background, and say on standard error what was lost unless ``wait`` raised it."""
        if self._thread is None or os.getpid() != self._process:
            return
        self._finish()
        if self._error is not None and not self._seen:
            self._seen = True
            why = str(self._error) if isinstance(self._error, RegistryError) else repr(self._error)
            print(shown(f"registry: a push of '{self._name}' in the background was lost: {why}"), file=sys.stderr)

    def _finish(self) -> None:
        if os.getpid() != self._process:
            raise OfAnotherProcess(self._name, self._process)
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()
            return
        with self._lock:
            if self._entry is None and self._error is None:
                self._run()

    def _run(self) -> None:
        try:
            self._entry = self._work()
        except BaseException as error:
            self._error = error


def follow(pending: PendingEntry) -> None:
    """Make a push the one that the next has to wait for."""
    global _last
    _last = pending


def settle_last() -> None:
    """Wait for the push before, so that versions get their numbers in the order of the calls."""
    if _last is not None:
        _last.wait_aloud()


Finalize(None, settle_last, exitpriority=20)  # atexit does not run in the children that mp.spawn starts


def copied(tensors: Mapping[str, TensorSource]) -> dict[str, TensorSource]:
    """Copy tensors to memory, the tied ones once."""
    memory: dict[Hashable, TensorBytes] = {}
    for source in tensors.values():
        if source.identity not in memory:
            memory[source.identity] = TensorBytes(source.spec, source.buffer())
    return {name: memory[source.identity] for name, source in tensors.items()}
