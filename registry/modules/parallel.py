"""A module on many ranks: DistributedDataParallel, and FSDP2 in which each rank holds its part."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from registry.errors.models import CannotShard, CannotWrap, first_line
from registry.modules.anatomy import move, parameters, parts, set_mode, unshadowed
from registry.modules.building.build import Built
from registry.modules.fitting.assignment import convert
from registry.modules.layout import layout
from registry.modules.parts import parts_of


def wrap_ddp(module: nn.Module, device: torch.device, *, synchronize: bool = False) -> nn.Module:
    """Return the module under DistributedDataParallel, in train mode, on a device of this rank.

    All ranks loaded the same digest, so their weights are equal and nothing has to be sent.

    Args:
        synchronize: send rank 0's values to the others first. Needed if some kept initial values of their own, as
            with ``allow_missing`` and ``allow_shape``.

    Raises:
        CannotWrap: DistributedDataParallel refuses the module, for example since nothing in it can be trained.
    """
    from torch.nn.parallel import DistributedDataParallel

    move(module, device)
    set_mode(module, training=True)
    accepted = inspect.signature(DistributedDataParallel.__init__).parameters
    options: dict[str, Any] = {} if synchronize or "init_sync" not in accepted else {"init_sync": False}
    try:
        with unshadowed(module):
            return DistributedDataParallel(module, device_ids=[device] if device.type == "cuda" else None, **options)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise CannotWrap(type(module).__name__, first_line(error)) from error


def shard(built: Built, device: torch.device, *, cast: torch.dtype | None = None) -> None:
    """Give out the parameters of a module over all ranks (``fully_shard``), before `fit` puts weights into it.

    Built fast, the parameters are put on meta and stay there, so that a rank never holds more than its part: `fit`
    copies only that out of the mapped weights. The elements of every ModuleList are units of their own, since a rank
    gathers one unit at a time while it computes.

    Args:
        device: of this rank; all ranks need the same type.
        cast: what `fit` is going to be given as ``cast``.

    Raises:
        CannotShard: the installed torch has no FSDP2, or it refuses the module.
    """
    built.random_outside()  # compared with what is not sharded yet
    built.to_meta()
    built.prepare = partial(_shard, device=device, cast=cast)
    built.prepare(built.module)


def _shard(module: nn.Module, device: torch.device, cast: torch.dtype | None) -> None:
    name = type(module).__name__
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise CannotShard(name, f"torch {torch.__version__} has no fully_shard") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if cast is not None:
        convert(module, cast)
    roots = list(parts_of(module).values()) or [module]
    if any(len({name.partition(".")[0] for name in tie}) > 1 for tie in layout(module).ties if len(roots) > 1):
        raise CannotShard(name, "a tensor is shared between parts, each of which is sharded by itself")
    try:
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        with unshadowed(module):
            for unit in [*_units(module), *roots]:
                fully_shard(unit, mesh=mesh)
    except (RuntimeError, ValueError, NotImplementedError, TypeError, AttributeError, AssertionError) as error:
        raise CannotShard(name, first_line(error)) from error


def _units(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the elements of ModuleLists, inner ones first, that share no parameter with anything outside."""
    owners: dict[int, set[nn.Module]] = {}
    for slot in layout(module).slots.values():
        owners.setdefault(id(slot.tensor), set()).add(slot.owner)
    shared = {parameter: parts for parameter, parts in owners.items() if len(parts) > 1}
    lists = [part for _, part in parts(module) if isinstance(part, nn.ModuleList)]
    for element in (element for part in reversed(lists) for element in part):
        owned = {id(parameter) for parameter in parameters(element)}
        inside = {part for _, part in parts(element)}
        is_container = isinstance(element, (nn.ModuleList, nn.ModuleDict))
        if owned and not is_container and all(shared[p] <= inside for p in owned & shared.keys()):
            yield element
