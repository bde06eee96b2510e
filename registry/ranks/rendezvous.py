"""One push by the ranks of a job: rank 0 writes, and what came of it waits for the others in the job's own store."""

from __future__ import annotations

import base64
import pickle
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.util import Finalize
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

from registry.errors.models import OtherRankFailed, RankUnreachable, first_line

T = TypeVar("T")
Result = TypeVar("Result")

_LONGEST_PAUSE = 0.25
"""Seconds between two looks into the store."""

_LINGER = 3.0
"""Seconds that a process, which may hold the job's store, stays at its end for ranks that have yet to read there."""

_shared: list[Rendezvous[Any]] = []
"""The last result that this process left."""

_calls: WeakKeyDictionary[Any, Counter[str]] = WeakKeyDictionary()
"""By process group: how often this process met at each place of its program."""


class Rendezvous(Generic[Result]):
    """What the ranks have of each other during one push.

    It is known on every rank by the model's name, what was asked, and the number of collectives that the job has run.
    So a rank that comes late finds the result of the same place in the program and not an older one, also where rank 0
    has pushed alone before. Nobody waits for a rank that does not come, unless its part of the weights is needed.

    Args:
        name: of the model that is pushed.
        asked: what tells two pushes apart that no collective lies between; the same on every rank.
        seconds: how long to wait for another rank.
    """

    def __init__(self, name: str, asked: str, seconds: float) -> None:
        world: Any = dist.group.WORLD
        place = f"{name}/{_collectives(world)}/{asked}"
        calls = _calls.setdefault(world, Counter())
        calls[place] += 1
        self._doing = f"pushing '{name}'"
        self._seconds = seconds
        self._key = f"{place}/{calls[place]}"
        self._store = c10d.PrefixStore("registry/push", c10d._get_default_store())
        self._rank, self._size = dist.get_rank(), dist.get_world_size()

    @property
    def writes_here(self) -> bool:
        """Whether this is the rank that stores."""
        return self._rank == 0

    def share(self, work: Callable[[], Result]) -> Result:
        """Do the work, on rank 0, and leave what comes of it for the others.

        Raises:
            BaseException: what the work raised; the others are told.
        """
        try:
            result = work()
        except BaseException as error:
            self.give_up(error)
            raise
        self._leave("result", ("", result))
        _shared[:] = [self]
        return result

    def give_up(self, error: BaseException) -> None:
        """Tell the others that there is no result to wait for."""
        self._leave("result", (_worded(error), None))

    def receive(self) -> Result:
        """Return what came of it on rank 0.

        Raises:
            OtherRankFailed: it failed there.
            RankUnreachable: it did not get there within the time limit, or died.
        """
        self._wait(
            lambda: bool(self._store.check([f"{self._key}/result"])),
            "rank 0 has left no result of a push like this one",
        )
        message, result = self._read("result")
        with suppress(RuntimeError):
            self._store.add(f"{self._key}/read", 1)
        if message:
            raise OtherRankFailed(self._doing, [(0, message)])
        received: Result = result
        return received

    def linger(self) -> None:
        """Wait a little for ranks that have not read the result yet."""
        end = time.monotonic() + _LINGER
        with suppress(RuntimeError):
            while self._store.add(f"{self._key}/read", 0) < self._size - 1 and time.monotonic() < end:
                time.sleep(0.02)

    def with_all(self, work: Callable[[], T]) -> T:
        """Do something that needs all ranks, once all of them are here.

        Raises:
            OtherRankFailed: it failed on another rank; what failed here is raised as it is.
            RankUnreachable: a rank died, or did not get here within the time limit.
        """
        self._gather_at("begin")
        try:
            result = work()
        except BaseException as error:
            self._leave(f"failure/{self._rank}", _worded(error))
            with suppress(RuntimeError):
                self._store.add(f"{self._key}/end", 1)
            raise
        self._gather_at("end")
        failed = [rank for rank in range(self._size) if self._store.check([f"{self._key}/failure/{rank}"])]
        if failed:
            messages = [(rank, self._read(f"failure/{rank}")) for rank in failed]
            raise OtherRankFailed(self._doing, messages)
        return result

    def unreachable(self, why: str) -> RankUnreachable:
        """Return the error for a rank that died or did not come."""
        return RankUnreachable(self._doing, self._seconds, why)

    def _gather_at(self, point: str) -> None:
        """Wait until all ranks have come to a point."""
        key = f"{self._key}/{point}"
        try:
            self._store.add(key, 1)
        except RuntimeError as error:
            raise self.unreachable(first_line(error)) from error
        self._wait(lambda: self._store.add(key, 0) >= self._size, "not all have come")

    def _wait(self, is_there: Callable[[], bool], missing: str) -> None:
        """Look again and again: a blocking wait could not be interrupted, and keeps other threads from the store."""
        end, pause = time.monotonic() + self._seconds, 0.002
        try:
            while not is_there():
                if time.monotonic() > end:
                    raise self.unreachable(missing)
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
        except RuntimeError as error:  # the store goes with the process that holds it
            raise self.unreachable(first_line(error)) from error

    def _read(self, key: str) -> Any:
        return pickle.loads(base64.b64decode(self._store.get(f"{self._key}/{key}")))

    def _leave(self, key: str, value: object) -> None:
        with suppress(RuntimeError):  # who cannot be told waits no longer than the time limit
            self._store.set(f"{self._key}/{key}", base64.b64encode(pickle.dumps(value)).decode())


def _linger() -> None:
    for rendezvous in _shared:
        rendezvous.linger()


Finalize(None, _linger, exitpriority=10)  # atexit does not run in the children that mp.spawn starts


def _collectives(world: Any) -> int:
    """Return how many collectives a group has run: the same on all ranks at the same place of the program."""
    try:
        return int(world._get_sequence_number_for_group())
    except (AttributeError, RuntimeError):  # a backend that does not count
        return 0


def _worded(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
