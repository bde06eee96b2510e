"""Many processes that act as one: what rank 0 decides holds for all, and what fails on one fails on all."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from registry.errors.models import (
    NoProcessGroup,
    OtherRankFailed,
    RankUnreachable,
    UnusableDevice,
    WrongRank,
    first_line,
)

PATIENCE = 600.0
"""Seconds that ranks wait for each other by default: the slowest may have to check every byte from a cold disk."""

T = TypeVar("T")

_channels: dict[float, tuple[weakref.ref[Any], weakref.ref[Any]]] = {}
"""By time limit: the process group that was the default one, and the group made beside it for messages.

Weak, since a group that outlives ``destroy_process_group`` still has threads when the interpreter ends, and aborts it.
"""


def require_process_group(asked: str) -> None:
    """Raise if this process is not part of a process group.

    Raises:
        NoProcessGroup: ``torch.distributed.init_process_group`` was not called.
    """
    if not dist.is_available() or not dist.is_initialized():
        raise NoProcessGroup(asked)


def in_job() -> bool:
    """Whether this process is one of several in a process group."""
    return bool(dist.is_available() and dist.is_initialized()) and dist.get_world_size() > 1


def current_rank(rank: int | None = None) -> int:
    """Return this process's rank, which the process group knows; ``rank`` may only confirm it.

    Raises:
        WrongRank: the rank given is another one.
    """
    actual = dist.get_rank()
    if rank is not None and rank != actual:
        raise WrongRank(rank, actual)
    return actual


def rank_device(rank: int) -> torch.device:
    """Return a rank's device: ``cuda:LOCAL_RANK`` where the launcher sets that, else by rank, else the CPU.

    A rank counts through all nodes and devices count on each, so rank 9 of two nodes of 8 has ``cuda:1``.
    """
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not devices:
        return torch.device("cpu")
    local = os.environ.get("LOCAL_RANK", "")
    return torch.device("cuda", int(local) if local.isdigit() and int(local) < devices else rank % devices)


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device that tensors can be put on, found out before a model is touched.

    Raises:
        UnusableDevice: torch does not know it, or it is not there.
    """
    try:
        found = torch.device(device)
        torch.empty(1, device=found).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise UnusableDevice(str(device), first_line(error)) from error
    return found


def together(doing: str, work: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Do something on every rank; if it fails on one, raise on all of them.

    Every rank of the process group has to call it, with work that does not depend on the other ranks.

    Raises:
        OtherRankFailed: it failed on another rank; what failed here is raised as it is.
        RankUnreachable: a rank died, or did not get here within the time limit.
    """
    try:
        result = work()
    except BaseException as error:
        with suppress(RankUnreachable):
            gathered(doing, f"{type(error).__name__}: {first_line(error)}", seconds)
        raise
    messages = gathered(doing, "", seconds)
    failures = [(rank, message) for rank, message in enumerate(messages) if message]
    if failures:
        raise OtherRankFailed(doing, failures)
    return result


def from_rank_zero(doing: str, decide: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Let rank 0 decide something and return it on every rank; the value has to be one that pickles.

    Raises:
        OtherRankFailed: rank 0 could not decide; on rank 0 what it failed with is raised.
        RankUnreachable: a rank died, or did not get here within the time limit.
    """
    outcome: tuple[str, Any] = ("", None)
    failure: BaseException | None = None
    if dist.get_rank() == 0:
        try:
            outcome = ("", decide())
        except BaseException as error:
            failure = error
            outcome = (f"{type(error).__name__}: {first_line(error)}", None)
    try:
        message, value = gathered(doing, outcome, seconds)[0]
    except RankUnreachable:
        if failure is not None:
            raise failure from None
        raise
    if failure is not None:
        raise failure
    if message:
        raise OtherRankFailed(doing, [(0, message)])
    return value  # type: ignore[no-any-return]


def gathered(doing: str, value: T, seconds: float = PATIENCE) -> list[T]:
    """Return what every rank has, by rank; the values have to be ones that pickle.

    Raises:
        RankUnreachable: a rank died, or did not get here within the time limit.
    """
    everywhere: list[Any] = [None] * dist.get_world_size()
    try:
        dist.all_gather_object(everywhere, value, group=_channel(seconds))
    except RuntimeError as error:
        _channels.clear()  # a group in which a rank was missed answers nothing any more
        raise RankUnreachable(doing, seconds, first_line(error)) from error
    return everywhere


def _channel(seconds: float) -> Any:
    """Return a gloo group of all ranks: its messages need no GPU, and unlike NCCL's they end after a time limit."""
    world = dist.group.WORLD
    default, known = (found() for found in _channels.get(seconds, (_nothing, _nothing)))
    if known is not None and default is world:
        return known
    channel = dist.new_group(backend="gloo", timeout=timedelta(seconds=seconds))
    _channels[seconds] = (weakref.ref(world), weakref.ref(channel))
    return channel


def _nothing() -> None:
    return None
