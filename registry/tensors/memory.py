"""The bits of tensors: two are the same if all bits are, NaN and minus zero included."""

from __future__ import annotations

import ctypes

import torch
from blake3 import blake3


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    """Return the values as a flat, contiguous uint8 tensor; a view where they already lie so."""
    return tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether dtype, shape and every bit are equal, wherever the tensors are."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.device == other.device and one.data_ptr() == other.data_ptr() and one.stride() == other.stride():
        return True
    return torch.equal(as_bytes(one).cpu(), as_bytes(other).cpu())


def digest(tensor: torch.Tensor) -> str:
    """Return a hexadecimal digest of dtype, shape and values."""
    data = as_bytes(tensor).cpu()
    hasher = blake3(f"{tensor.dtype}{list(tensor.shape)}\0".encode())
    hasher.update(memoryview((ctypes.c_ubyte * data.numel()).from_address(data.data_ptr() or id(data))).cast("B"))
    return hasher.hexdigest()
