"""A short text of a value, the same for two values exactly if nothing that a model computes with tells them apart."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import torch
from blake3 import blake3
from torch.nn.parameter import is_lazy

from registry.models.bits import digest
from registry.models.reachable import BUFFERS, is_array, is_flat

_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices"),
    torch.sparse_bsr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"),
    torch.sparse_bsc: ("ccol_indices", "row_indices"),
}


def fingerprint(value: Any, *, is_leaf: bool) -> str:
    """Return a digest of a leaf's value; of anything else, whose members are values of their own, what it is."""
    return blake3("\0".join(_parts(value) if is_leaf else [_kind(value)]).encode("utf-8", "surrogatepass")).hexdigest()


def _parts(value: Any) -> Iterator[str]:
    yield type(value).__qualname__
    if isinstance(value, torch.Tensor):
        with torch.no_grad():
            yield from _of_tensor(value)
    elif is_array(value):
        yield f"{value.dtype} {value.shape}"
        yield blake3(value.tobytes()).hexdigest()
    elif isinstance(value, BUFFERS):
        yield blake3(bytes(value)).hexdigest()
    elif is_flat(value):
        texts = map(_scalar, value)
        yield from sorted(texts) if isinstance(value, (set, frozenset)) else texts
    else:
        yield _scalar(value)


def _scalar(value: Any) -> str:
    # Python refuses to write a whole number of many digits in decimal.
    return f"{type(value).__qualname__} {int(value):x}" if isinstance(value, int) else repr(value)


def _of_tensor(tensor: torch.Tensor) -> Iterator[str]:
    """Yield what makes up a tensor of any layout: its facts, and the digests of the plain tensors in it."""
    if is_lazy(tensor):
        return
    yield f"{tensor.dtype} {tensor.layout} {tensor.device}"
    if hasattr(tensor, "__tensor_flatten__"):
        names, context = tensor.__tensor_flatten__()
        yield repr(context)
        parts = [getattr(tensor, name) for name in names]
    elif tensor.is_nested:
        parts = list(tensor.unbind())
    elif tensor.layout is torch.sparse_coo:
        parts = [tensor._indices(), tensor._values()]
    elif tensor.layout in _COMPRESSED:
        parts = [*(getattr(tensor, name)() for name in _COMPRESSED[tensor.layout]), tensor.values()]
    elif tensor.is_mkldnn:
        parts = [tensor.to_dense()]
    elif tensor.is_quantized:
        yield str(tensor.qscheme())
        if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            yield f"{tensor.q_scale()!r} {tensor.q_zero_point()}"
            parts = [tensor.int_repr()]
        else:
            parts = [tensor.int_repr(), tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()]
    else:
        yield f"{list(tensor.shape)}" if tensor.is_meta else digest(tensor)
        return
    yield f"{list(tensor.shape)}" if not tensor.is_nested else ""
    for part in parts:
        yield from _of_tensor(part)


def _kind(value: Any) -> str:
    if isinstance(value, types.FunctionType):
        code = value.__code__
        return f"{value.__module__} {value.__qualname__} {code.co_firstlineno} {code.co_code.hex()}"
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{getattr(named, '__module__', '')} {named.__qualname__}"
