"""What torch writes into pickles: tensors over storages, parameters, sizes, dtypes, devices.

Sources: torch/_utils.py, torch/_tensor.py, torch/storage.py and torch/serialization.py of torch 2.13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from registry.checkpoints.mapping import held
from registry.checkpoints.pickles.numpy_vocabulary import NUMPY, PickledArray
from registry.checkpoints.pickles.plain_vocabulary import PLAIN
from registry.checkpoints.pickles.vocabulary import BadPickle, Buildable, Global, Handler, Machine, Vocabulary, label
from registry.checkpoints.tensors import FileTensor, Storage, reach, whole
from registry.tensors.dtypes import ALL_ITEM_SIZES
from registry.tensors.foreign import PARAMETER, Array, Foreign, Size, TorchConstant

MOST_DIMENSIONS = 64
"""torch itself allows as many."""

LARGEST = 1 << 62


@dataclass(frozen=True, slots=True)
class StorageType:
    """Stands for a storage class: ``torch.FloatStorage``."""

    dtype: str


@dataclass(frozen=True, slots=True)
class TypedStorage:
    """A part of a storage, seen as elements of one dtype."""

    storage: Storage
    dtype: str
    start: int
    nbytes: int


class Unstorable(Buildable):
    """A tensor of a kind that has no canonical bytes; it is refused by name where it is one of the weights."""

    def __init__(self, kind: str, remedy: str, is_sharded: bool = False) -> None:
        self.kind = kind
        self.remedy = remedy
        self.is_sharded = is_sharded

    def __str__(self) -> str:
        return f"a tensor that is {self.kind}"

    def build(self, machine: Machine, state: Any) -> None:
        """It stays what it is, whatever its state."""


def _symbol(value: Any) -> str:
    return value.name if isinstance(value, TorchConstant) else label(value)


def strided(machine: Machine, stored: Any, offset: Any, shape: Any, stride: Any, dtype: str) -> FileTensor:
    """Return a tensor over a storage, after checking that all its elements lie inside.

    Raises:
        BadPickle: they do not, or its numbers are no sizes.
    """
    if not isinstance(stored, TypedStorage):
        raise BadPickle("a tensor has no storage")
    if not isinstance(shape, tuple) or not isinstance(stride, tuple) or len(shape) != len(stride):
        raise BadPickle("a tensor has no shape")
    if len(shape) > MOST_DIMENSIONS:
        raise BadPickle(f"a tensor has {len(shape)} dimensions")
    for number in (offset, *shape, *stride):
        if type(number) is not int or not 0 <= number < LARGEST:
            raise BadPickle("a tensor has an offset, size or stride that is none")
    item = ALL_ITEM_SIZES[dtype]
    start = offset * item
    # A view of no elements may begin anywhere: `x[len(x):]` begins behind the end.
    if 0 not in shape and start + reach(shape, stride) * item > stored.nbytes:
        raise BadPickle(f"a tensor of shape {list(shape)[:8]} reaches beyond the end of its storage")
    machine.charge(200)
    return FileTensor(stored.storage, dtype, stored.start + start, tuple(shape), tuple(stride))


def _with_bits(tensor: FileTensor, metadata: Any) -> FileTensor:
    if not isinstance(metadata, dict) or not (metadata.get("conj") or metadata.get("neg")):
        return tensor
    return replace(tensor, conjugated=bool(metadata.get("conj")), negated=bool(metadata.get("neg")))


def _tensor(machine: Machine, args: tuple[Any, ...]) -> FileTensor:
    stored, offset, shape, stride = args[:4]
    if not isinstance(stored, TypedStorage):
        raise BadPickle("a tensor has no storage")
    tensor = strided(machine, stored, offset, shape, stride, stored.dtype)
    if len(args) > 4 and args[4] is True:
        tensor = replace(tensor, requires_grad=True)
    return _with_bits(tensor, args[6]) if len(args) > 6 else tensor


def _tensor_of_dtype(machine: Machine, args: tuple[Any, ...]) -> Any:
    """``_rebuild_tensor_v3``: the storage has no dtype of its own."""
    dtype = _symbol(args[6])
    if dtype not in ALL_ITEM_SIZES:
        return Unstorable(f"of dtype {dtype}", "convert it to a dtype that safetensors has before saving")
    stored, offset, shape, stride = args[:4]
    tensor = strided(machine, stored, offset, shape, stride, dtype)
    if args[4] is True:
        tensor = replace(tensor, requires_grad=True)
    return _with_bits(tensor, args[7]) if len(args) > 7 else tensor


def _parameter(machine: Machine, args: tuple[Any, ...]) -> Any:
    if not args:
        return Foreign(PARAMETER)
    if not isinstance(args[0], FileTensor):
        return args[0]
    machine.charge(200)
    return replace(args[0], kind=PARAMETER, requires_grad=args[1:2] != (False,))


def _from_host(machine: Machine, args: tuple[Any, ...]) -> Any:
    """A tensor of an accelerator that was written as one in host memory."""
    return args[0]


def _sparse(machine: Machine, args: tuple[Any, ...]) -> Unstorable:
    return Unstorable(f"sparse ({_symbol(args[0])})", "call .to_dense() on it before saving")


def _quantized(machine: Machine, args: tuple[Any, ...]) -> Unstorable:
    return Unstorable("quantized", "call .dequantize() on it, or save its .int_repr() and scales, before saving")


def _nested(machine: Machine, args: tuple[Any, ...]) -> Unstorable:
    return Unstorable("a nested tensor", "call .to_padded_tensor(0) on it, or save its parts, before saving")


def _meta(machine: Machine, args: tuple[Any, ...]) -> Unstorable:
    return Unstorable("on the meta device, so it has no values", "load the weights before saving")


def _from_numpy(machine: Machine, args: tuple[Any, ...]) -> Any:
    """A tensor of an accelerator without storages of its own (XLA, ...), written as an array of numpy."""
    array, dtype = args[0], _symbol(args[1])
    if isinstance(array, PickledArray):
        array = array.value
    if isinstance(array, Array) and array.spec.dtype == dtype:
        return in_memory(array)
    return Unstorable(f"of dtype {dtype} on another device", "call .cpu() on it before saving")


def in_memory(array: Array) -> FileTensor:
    """Return a tensor whose bytes are in the pickle itself."""
    storage = Storage("the file", "an array of numpy", len(array.data), held(array.data))
    return whole(storage, array.spec.dtype, array.spec.shape)


_OWN_TYPES = {
    "torch.Tensor",
    "torch._tensor.Tensor",
    "torch.nn.Parameter",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
    "torch.nn.Buffer",
}
_SHARDED_TYPES = ("DTensor", "ShardedTensor")


def _of_type(machine: Machine, args: tuple[Any, ...]) -> Any:
    """``_rebuild_from_type_v2``: a tensor of a subclass, which is read where the subclass changes nothing."""
    function, kind, inner, state = args
    if label(kind) in _OWN_TYPES:
        return machine.construct(function, inner)
    name = kind.name if isinstance(kind, Global) else "unknown type"
    if name in _SHARDED_TYPES:
        whole_tensor = _unsharded(state)
        return whole_tensor or Unstorable(name, "", is_sharded=True)
    return Unstorable(f"a {label(kind)}", "convert it to a plain torch.Tensor before saving")


def _unsharded(state: Any) -> FileTensor | None:
    """Return a DTensor's local part where that is all of it: on one rank, or the same on all ranks."""
    if isinstance(state, tuple) and len(state) == 2:
        state = state[1]  # (attributes, slots): a DTensor has slots
    parts = state if isinstance(state, dict) else {}
    local, spec = parts.get("_local_tensor"), parts.get("_spec")
    if not isinstance(local, FileTensor) or not isinstance(spec, Foreign) or not isinstance(spec.state, dict):
        return None
    placements, meta = spec.state.get("placements"), spec.state.get("tensor_meta")
    if not isinstance(placements, tuple) or len(placements) > MOST_DIMENSIONS or not isinstance(meta, Foreign):
        return None
    kinds = {placement.name.rpartition(".")[2] for placement in placements if isinstance(placement, Foreign)}
    shape = meta.args[0] if meta.args else (meta.state or {}).get("shape")
    return local if kinds <= {"Shard", "Replicate"} and len(kinds) and (shape or ()) == local.shape else None


def _sharded(machine: Machine, args: tuple[Any, ...]) -> Unstorable:
    return Unstorable("ShardedTensor", "", is_sharded=True)


def _wrapper_subclass(machine: Machine, args: tuple[Any, ...]) -> Unstorable:
    return Unstorable(f"a {label(args[0])}", "convert it to a plain torch.Tensor before saving")


def _size(machine: Machine, args: tuple[Any, ...]) -> Size:
    sizes = args[0] if args else ()
    if not isinstance(sizes, (tuple, list)) or not all(type(size) is int for size in sizes):
        raise BadPickle("a size is made of something that is none")
    machine.charge(8 * len(sizes))
    return Size(sizes)


def _device(machine: Machine, args: tuple[Any, ...]) -> TorchConstant:
    return TorchConstant("device", ":".join(label(part)[:40] for part in args[:2]))


def _layout(machine: Machine, args: tuple[Any, ...]) -> TorchConstant:
    return TorchConstant("layout", label(args[0])[:40])


_HANDLERS: Mapping[str, Handler] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_nested_tensor": _nested,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_device_tensor_from_numpy": _from_numpy,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _from_host,
    "torch._utils._rebuild_xla_tensor": _from_numpy,
    "torch._utils._rebuild_wrapper_subclass": _wrapper_subclass,
    "torch._tensor._rebuild_from_type": _of_type,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch.tensor._rebuild_from_type": _of_type,
    "torch.tensor._rebuild_from_type_v2": _of_type,
    "torch.distributed._shard.sharded_tensor.api.ShardedTensor": _sharded,
    "torch.Size": _size,
    "torch.device": _device,
    "torch.serialization._get_layout": _layout,
}

_STORAGES = {
    "Untyped": "uint8",
    "Byte": "uint8",
    "Char": "int8",
    "Short": "int16",
    "Int": "int32",
    "Long": "int64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Float": "float32",
    "Double": "float64",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "QInt8": "qint8",
    "QUInt8": "quint8",
    "QInt32": "qint32",
    "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4",
}
_DTYPE_SPELLINGS = {
    **{name: name for name in ALL_ITEM_SIZES},
    **{"float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32"},
    **{"short": "int16", "cfloat": "complex64", "cdouble": "complex128"},
}

_CONSTANTS: Mapping[str, Any] = {
    **{f"torch.{name}": TorchConstant("dtype", dtype) for name, dtype in _DTYPE_SPELLINGS.items()},
    **{
        f"torch.{name}": TorchConstant("dtype", name)
        for name in ("uint1", "uint2", "uint4", "int4", "float4_e2m1fn_x2")
    },
    **{
        f"{module}.{name}Storage": StorageType(dtype)
        for module in ("torch", "torch.cuda", "torch.storage", "torch._C")
        for name, dtype in _STORAGES.items()
    },
}

CHECKPOINT = PLAIN | NUMPY | Vocabulary(_HANDLERS, _CONSTANTS)
"""All that a checkpoint may name."""
