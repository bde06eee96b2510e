"""A short text of a value, the same for two values exactly if nothing that a model computes with tells them apart."""

from __future__ import annotations

import array
import ctypes
import io
import mmap
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from blake3 import blake3
from torch.nn.parameter import is_lazy

from registry.tensors.memory import digest

SCALARS = (bool, int, float, complex, str, bytes, types.NoneType, types.EllipsisType, torch.dtype, torch.device)
SEQUENCES = (list, tuple, set, frozenset, deque)
_STORAGES = (torch.UntypedStorage, torch.TypedStorage)
_BUFFERS = (bytearray, array.array, memoryview, ctypes.Array, io.BytesIO, mmap.mmap)
_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices"),
    torch.sparse_bsr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"),
    torch.sparse_bsc: ("ccol_indices", "row_indices"),
}


def is_a_leaf(value: Any) -> bool:
    """Whether a value is a tensor, an array, a number, a text, or a list of such, and refers to nothing else."""
    simple = (torch.Tensor, *_STORAGES, *SCALARS, *_BUFFERS)
    return isinstance(value, simple) or is_array(value) or is_flat(value)


def is_array(value: Any) -> bool:
    """Whether a value is of numpy and holds nothing but bytes."""
    is_numpys = type(value).__module__.partition(".")[0] == "numpy"  # masked ones, too
    return is_numpys and hasattr(value, "tobytes") and not value.dtype.hasobject


def is_flat(value: Any) -> bool:
    """Whether a value is a sequence or a set of scalars."""
    return isinstance(value, SEQUENCES) and all(isinstance(element, SCALARS) for element in value)


def fingerprint(value: Any, *, is_leaf: bool) -> str:
    """Return a text of a leaf's value; of anything else, whose members are values of their own, what it is."""
    text = "\0".join(_parts(value)) if is_leaf else _kind(value)
    return text if len(text) < 100 else blake3(text.encode()).hexdigest()


def _bytes_of(value: Any) -> bytes:
    return value.getvalue() if isinstance(value, io.BytesIO) else bytes(value)


def _parts(value: Any) -> Iterator[str]:
    yield type(value).__qualname__
    if isinstance(value, torch.Tensor):
        with torch.no_grad():
            yield from _of_tensor(value)
    elif is_array(value):
        yield f"{value.dtype} {value.shape}"
        yield blake3(value.tobytes()).hexdigest()
    elif isinstance(value, _STORAGES):
        whole = value if isinstance(value, torch.UntypedStorage) else value.untyped()  # type: ignore[no-untyped-call]
        yield from _of_tensor(torch.empty(0, dtype=torch.uint8, device=whole.device).set_(whole))
    elif isinstance(value, _BUFFERS):
        yield blake3(_bytes_of(value)).hexdigest()
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
        yield _digest(tensor)
        return
    yield f"{list(tensor.shape)}" if not tensor.is_nested else ""
    for part in parts:
        yield from _of_tensor(part)


def _digest(tensor: torch.Tensor) -> str:
    try:
        return digest(tensor)
    except (RuntimeError, NotImplementedError):  # on meta, or left without values by a construction that was given up
        return f"{list(tensor.shape)}"


def _kind(value: Any) -> str:
    if isinstance(value, types.FunctionType):
        return f"{value.__module__} {value.__qualname__} {_code(value.__code__)}"
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{getattr(named, '__module__', '')} {named.__qualname__}"


def _code(code: types.CodeType) -> str:
    constants = [_code(value) if isinstance(value, types.CodeType) else repr(value) for value in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"
