"""A rank's part of a tensor under FSDP2: which bytes of the whole tensor it is, and how it gets them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_shard(tensor: torch.Tensor) -> bool:
    """Whether a tensor is spread over ranks (a ``DTensor``)."""
    module = sys.modules.get("torch.distributed.tensor")  # its import is slow, and without it there is none
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return what this rank holds of a tensor: all of it, or its shard, as the same memory."""
    return cast("DTensor", tensor.detach()).to_local() if is_shard(tensor) else tensor


def part_of(values: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Return the view of whole values that this rank holds of a tensor; nothing outside of it is read.

    Along each dimension of the mesh a tensor is cut as ``torch.chunk`` cuts it, so that the last ranks of an uneven
    division hold less, or nothing.
    """
    if not is_shard(tensor):
        return values
    sharded = cast("DTensor", tensor)
    coordinate: list[int] = list(sharded.device_mesh.get_coordinate() or ())
    for dimension, placement in enumerate(sharded.placements):
        if placement.is_shard():
            along: int = placement.dim  # type: ignore[attr-defined]
            size = values.shape[along]
            length = -(-size // sharded.device_mesh.size(dimension))
            start = min(coordinate[dimension] * length, size)
            values = values.narrow(along, start, min(length, size - start))
    return values


def materialized(tensor: torch.Tensor, values: torch.Tensor) -> nn.Parameter:
    """Return what a shard on meta is to be replaced by: this rank's part of the values, on the device of its mesh."""
    sharded = cast("DTensor", tensor)
    kind = sharded.device_mesh.device_type
    device = torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)
    part = part_of(values, tensor).detach().to(device, copy=True).contiguous()
    whole = type(sharded).from_local(
        part, sharded.device_mesh, sharded.placements, run_check=False, shape=sharded.shape, stride=sharded.stride()
    )
    return nn.Parameter(whole, requires_grad=tensor.requires_grad)
