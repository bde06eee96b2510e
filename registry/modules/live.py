"""Live objects as checkpoints: a module, wrapped or not, or a state dict in memory."""

from __future__ import annotations

import argparse
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from registry.checkpoints.averages import with_averages
from registry.checkpoints.containers import sort_contents
from registry.checkpoints.mapping import PIECE
from registry.checkpoints.parts import refuse_spread
from registry.checkpoints.pickles.torch_vocabulary import Unstorable
from registry.checkpoints.settling import DEEPEST
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.checkpoints import OversizedCheckpoint, UnstorableTensor
from registry.errors.models import described
from registry.modules.anatomy import parameters, state_dict, unshadowed
from registry.modules.layout import is_fsdp1, is_sharded, live_wrappers, model_class
from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.foreign import Array, Foreign, Items, NamespaceRecord, Record, Row, SimpleNamespaceRecord
from registry.tensors.memory import content, dtype_name, flat_bytes, is_in_order, spec_of
from registry.tensors.spec import TensorSpec


class LiveTensor:
    """A tensor in memory, as a ``TensorSource``."""

    def __init__(self, source: str, name: str, tensor: torch.Tensor) -> None:
        if fault := _unstorable(tensor):
            raise UnstorableTensor(source, name, *fault)
        self.tensor = tensor.detach()
        """The tensor itself, without its graph."""
        self.requires_grad, self.kind = tensor.requires_grad, _class_name(tensor)
        self.spec = spec_of(tensor)
        self._stream = torch.cuda.current_stream(tensor.device) if tensor.is_cuda else None

    @property
    def identity(self) -> Hashable:
        t = self.tensor
        if not t.numel():
            return id(t)
        return (str(t.device), t.data_ptr(), t.dtype, t.shape, t.stride(), t.is_conj(), t.is_neg())

    @property
    def is_streamed(self) -> bool:
        return (self.tensor.is_cpu or self.tensor.is_cuda) and is_in_order(self.tensor)

    def buffer(self) -> memoryview:
        if self.spec.nbytes <= PIECE:
            return memoryview(bytes(self._content(self.tensor)))
        return self._content(self.tensor.clone() if self.tensor.is_cpu and self.is_streamed else self.tensor)

    def pieces(self, *, own: bool = True) -> Iterator[memoryview]:
        if not self.is_streamed or self.tensor.is_cpu:
            whole = self._content(self.tensor)
            for begin in range(0, len(whole), PIECE):
                piece = whole[begin : begin + PIECE]
                yield memoryview(bytes(piece)) if own and self.is_streamed else piece
            return
        values = flat_bytes(self.tensor)
        for begin in range(0, values.numel(), PIECE):
            yield self._content(values[begin : begin + PIECE])

    def _content(self, tensor: torch.Tensor) -> memoryview:
        """Return values as the stream leaves them that was the caller's, whichever thread asks."""
        if self._stream is None:
            return content(tensor)
        with torch.cuda.stream(self._stream):
            return content(tensor)


def open_live(source: nn.Module | Mapping[str, Any]) -> Checkpoint:
    """Return a live module or a state dict as a checkpoint.

    A module's wrappers are known by the types of the objects, never by the names of attributes. A module that FSDP
    shards is gathered, which every rank of its process group has to take part in; the others than rank 0 get nothing.

    Raises:
        UnstorableTensor: a tensor is sparse, quantized, a shard, or of a dtype that cannot be stored.
    """
    if not isinstance(source, nn.Module):
        return _open_mapping(source)
    named = f"a live {model_class(source).__name__}"
    state = _full_state(source) if is_sharded(source) else state_dict(source)
    return Checkpoint(named, None, "live", (_weight_set(named, state),), live_wrappers=live_wrappers(source))


def _open_mapping(source: Mapping[str, Any]) -> Checkpoint:
    """Return a dict in memory as a file that holds it is read."""
    named = "a state dict in memory"
    found = sort_contents(inert(source, named), named, None, None, "live")
    refuse_spread(found.contents, named)
    return with_averages(found)


def inert(value: Any, source: str) -> Any:
    """Return a copy of a value of memory in which everything is what reading a file makes of it.

    Raises:
        OversizedCheckpoint: it is nested more deeply than data is.
    """
    made: dict[int, Any] = {}
    alive: list[Any] = []
    """What has an address in ``made``: a freed state dict could lend its address to another."""

    def copied(value: Any, levels: int) -> Any:
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        if id(value) in made:
            return made[id(value)]
        if levels < 0:
            raise OversizedCheckpoint(source, f"its contents are nested more than {DEEPEST} levels deep")
        alive.append(value)
        new: Any = value
        if isinstance(value, torch.Tensor):
            fault = _unstorable(value)
            new = Unstorable(*fault) if fault else LiveTensor(source, "", value)
        elif isinstance(value, Mapping):
            new = made[id(value)] = _emptied(value)
            for key, item in value.items():
                new[copied(key, levels - 1)] = copied(item, levels - 1)
            if isinstance(new, OrderedDict) and hasattr(value, "_metadata"):
                new.__dict__["_metadata"] = value._metadata
        elif isinstance(value, (argparse.Namespace, types.SimpleNamespace)):
            new = made[id(value)] = _RECORDS.get(type(value), Record)()
            new.update((key, copied(item, levels - 1)) for key, item in vars(value).items())
        elif isinstance(value, list):
            new = made[id(value)] = [] if type(value) is list else Items()
            new.extend(copied(item, levels - 1) for item in value)
        elif isinstance(value, tuple) and not isinstance(value, torch.Size):
            new = (tuple if type(value) is tuple else Row)(copied(item, levels - 1) for item in value)
        elif type(value) in (set, frozenset):
            new = type(value)(copied(item, levels - 1) for item in value)
        elif isinstance(value, nn.Module):
            new = Foreign(_class_name(value), state={"_parameters": copied(value.state_dict(), levels - 1)})
        elif _class_name(value) == "numpy.ndarray" and value.dtype.name in ITEM_SIZES:
            little = value.astype(value.dtype.newbyteorder("<"))
            new = Array(TensorSpec(value.dtype.name, value.shape), little.tobytes(), not value.dtype.isnative)
        elif _class_name(value) == "numpy.ndarray":  # of objects, texts, dates: nothing that a file would give either
            new = made[id(value)] = Foreign(f"numpy.ndarray of {value.dtype}")
            if value.dtype.hasobject and value.dtype.names is None:
                new.items = [copied(item, levels - 1) for item in value.ravel().tolist()]
        elif isinstance(getattr(value, "__dict__", None), dict) and vars(value):
            new = made[id(value)] = Foreign(_class_name(value))
            new.state = copied(vars(value), levels - 1)
        made[id(value)] = new
        return new

    return copied(value, DEEPEST)


_RECORDS: Mapping[type, type[Record]] = {
    argparse.Namespace: NamespaceRecord,
    types.SimpleNamespace: SimpleNamespaceRecord,
}


def _emptied(value: Any) -> dict[Any, Any]:
    """Return an empty mapping of the same kind; one of a class that cannot be made again is a record."""
    if type(value) is defaultdict:
        return defaultdict(value.default_factory)
    made = next((kind for kind in (dict, OrderedDict, Counter) if type(value) is kind), Record)
    return made()


def _class_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _unstorable(tensor: torch.Tensor) -> tuple[str, str] | None:
    """Return of what kind a tensor is that cannot be stored, and what to do about it; nothing of one that can."""
    dtype = dtype_name(tensor.dtype)
    if is_lazy(tensor):
        return "of a lazy layer that has not run yet", "run the model once first"
    if _means_more(tensor):
        return described(tensor), "call .as_subclass(torch.Tensor) on it first, if its memory is all it means"
    if tensor.is_nested:
        return "a nested tensor", "call .to_padded_tensor(0) on it first"
    if tensor.layout != torch.strided:
        return f"sparse ({tensor.layout})", "call .to_dense() first"
    if tensor.is_meta:
        return "on the meta device and has no values", "load its weights first"
    if tensor.is_quantized or dtype not in ITEM_SIZES:
        return f"of dtype {dtype}", "convert it to a plain dtype first"
    return None


def _means_more(tensor: torch.Tensor) -> bool:
    """Whether a tensor may stand for something else than its memory, because its class says what its operations do.

    That is any class that is not torch's own, as in a file, where it is not asked. A class of parameters that changes
    nothing is saved by torch as a parameter, and so it is one here.
    """
    kind = type(tensor)
    if kind in (torch.Tensor, nn.Parameter):
        return False
    changes_nothing = all(getattr(kind, name) == getattr(nn.Parameter, name) for name in _OPERATIONS)
    return not (issubclass(kind, nn.Parameter) and changes_nothing and not vars(tensor))


_OPERATIONS = ("__torch_function__", "__torch_dispatch__")


def _full_state(module: nn.Module) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    # Gathered to rank 0 alone; but FSDP1 on the CPU dies of a segmentation fault over that (torch 2.13).
    to_rank_zero = not (is_fsdp1(module) and all(tensor.is_cpu for tensor in parameters(module)))
    with unshadowed(module):
        return get_model_state_dict(module, options=StateDictOptions(full_state_dict=True, cpu_offload=to_rank_zero))


def _weight_set(source: str, state: Mapping[str, Any]) -> WeightSet:
    tensors = {
        name: LiveTensor(source, name, value) for name, value in state.items() if isinstance(value, torch.Tensor)
    }
    values = {name: value for name, value in state.items() if not isinstance(value, torch.Tensor)}
    return WeightSet("", tensors, values, getattr(state, "_metadata", None))
