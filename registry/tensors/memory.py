"""Tensors and the bytes that they are made of: two are the same if all bits are, NaN and minus zero included."""

from __future__ import annotations

import ctypes
import mmap
from functools import cache, lru_cache

import torch

from registry.tensors.source import TensorSource
from registry.tensors.spec import TensorSpec, tensor_digest

_LARGE = 4 << 20
"""Bytes from which on memory is asked for in large pages."""


@cache
def dtype_name(dtype: torch.dtype) -> str:
    """Return torch's name of a dtype: ``"float32"``."""
    return str(dtype).removeprefix("torch.")


def spec_of(tensor: torch.Tensor) -> TensorSpec:
    """Return a tensor's dtype and shape."""
    return _spec(tensor.dtype, tuple(tensor.shape))


@lru_cache(1 << 12)  # a model has few shapes, and is asked for them again and again
def _spec(dtype: torch.dtype, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(dtype_name(dtype), shape)


def is_in_order(tensor: torch.Tensor) -> bool:
    """Whether the values lie in memory as they are stored: C-contiguous, and as they count."""
    return tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()


def content(tensor: torch.Tensor) -> memoryview:
    """Return the values as C-contiguous little-endian bytes, in the tensor's own memory where they already lie so."""
    tensor = tensor.detach()
    values = _in_host_memory(flat_bytes(tensor)) if tensor.is_cuda and is_in_order(tensor) else flat_bytes(tensor.cpu())
    array = (ctypes.c_ubyte * values.numel()).from_address(values.data_ptr() or id(values))
    array._owner = values  # type: ignore[attr-defined]  # keeps the memory as long as the view
    return memoryview(array).cast("B")


def tensor_over(spec: TensorSpec, memory: bytearray | mmap.mmap, offset: int = 0) -> torch.Tensor:
    """Return a tensor that uses this memory, which holds its values from ``offset`` on.

    It has a storage of its own: over one for all, saving a tensor of a mapped file would save the whole file.
    """
    dtype: torch.dtype = getattr(torch, spec.dtype)
    if not (count := spec.numel):
        return torch.empty(spec.shape, dtype=dtype, device="cpu")
    flat = torch.frombuffer(memory, dtype=dtype, count=count, offset=offset)
    # In place, since a view would keep its base and share its version counter; the number of elements is the same.
    return flat.resize_(spec.shape)


def tensor_of(source: TensorSource) -> torch.Tensor:
    """Return a source's values as a tensor in memory of its own."""
    # Of a copy: the buffer may be read-only, and a file may hold the tensor at an address that its dtype cannot have.
    return tensor_over(source.spec, bytearray(source.buffer()))


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether dtype, shape and every bit are equal, wherever the tensors are."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    is_one_view = one.device == other.device and one.data_ptr() == other.data_ptr() and one.stride() == other.stride()
    if is_one_view and one.is_conj() == other.is_conj() and one.is_neg() == other.is_neg():
        return True
    return torch.equal(flat_bytes(one).cpu(), flat_bytes(other).cpu())


def swap_contents(tensor: torch.Tensor, other: torch.Tensor) -> None:
    """Give a tensor object the contents, device and dtype of another; its identity, type and attributes stay.

    ``torch.utils.swap_tensors`` does the same and refuses tensors that something refers to weakly, as LSTM does; the
    reference goes to the object, which stays, so that is no reason here.
    """
    other.requires_grad_(tensor.requires_grad)
    torch._C._swap_tensor_impl(tensor, other)


def digest(tensor: torch.Tensor) -> str:
    """Return a hexadecimal digest of dtype, shape and values, that of a stored tensor."""
    return tensor_digest(spec_of(tensor), content(tensor))


def _in_host_memory(flat: torch.Tensor) -> torch.Tensor:
    """Return a copy of a GPU's bytes. Memory for what is large comes in large pages, which takes less than the copy."""
    if flat.numel() < _LARGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return flat.cpu()
    memory = mmap.mmap(-1, flat.numel(), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8).copy_(flat)


def flat_bytes(tensor: torch.Tensor) -> torch.Tensor:
    """Return the values as a flat, contiguous uint8 tensor; a view where they already lie so."""
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    # Of a single element torch takes any stride for a contiguous one, and then refuses to see its bytes.
    return flat.as_strided(flat.shape, (1,)).view(torch.uint8)
