"""Live objects as checkpoints: a module, wrapped or not, or a state dict in memory."""

from __future__ import annotations

import ctypes
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from registry.canonical.signature import ITEM_SIZES, TensorSpec
from registry.canonical.wrappers import WRAPPERS, Wrapper
from registry.checkpoints.mapping import PIECE
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.checkpoints import UnstorableTensor

_FSDP1 = "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel"
_HIDDEN = ("_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""Components that torch's own hooks take out of a live state dict's names."""


class LiveTensor:
    """A tensor in memory, as a ``TensorSource``."""

    def __init__(self, source: str, name: str, tensor: torch.Tensor) -> None:
        dtype = str(tensor.dtype).removeprefix("torch.")
        if hasattr(tensor, "__tensor_flatten__"):
            raise UnstorableTensor(source, name, f"a {type(tensor).__name__}", "make it a plain tensor first")
        if tensor.layout != torch.strided:
            raise UnstorableTensor(source, name, f"sparse ({tensor.layout})", "call .to_dense() first")
        if tensor.is_meta:
            raise UnstorableTensor(source, name, "on the meta device and has no values", "load its weights first")
        if tensor.is_quantized or dtype not in ITEM_SIZES:
            raise UnstorableTensor(source, name, f"of dtype {dtype}", "convert it to a plain dtype first")
        self._tensor = tensor.detach()
        self.spec = TensorSpec(dtype, tuple(tensor.shape))

    @property
    def identity(self) -> Hashable:
        t = self._tensor
        return (str(t.device), t.data_ptr(), t.dtype, t.shape, t.stride()) if t.numel() else id(t)

    @property
    def is_streamed(self) -> bool:
        t = self._tensor
        return t.is_cpu and t.is_contiguous() and not t.is_conj() and not t.is_neg()

    def buffer(self) -> memoryview:
        dense = self._dense()
        if self.spec.nbytes <= PIECE:
            return memoryview(bytes(_view(dense)))
        return _view(dense.clone() if self.is_streamed else dense)

    def pieces(self, *, own: bool = True) -> Iterator[memoryview]:
        content = _view(self._dense())
        for begin in range(0, len(content), PIECE):
            piece = content[begin : begin + PIECE]
            yield memoryview(bytes(piece)) if own and self.is_streamed else piece

    def _dense(self) -> torch.Tensor:
        return self._tensor.cpu().resolve_conj().resolve_neg().contiguous()


def _view(dense: torch.Tensor) -> memoryview:
    nbytes = dense.numel() * dense.element_size()
    array = (ctypes.c_ubyte * nbytes).from_address(dense.data_ptr() if nbytes else id(dense))
    array._owner = dense  # type: ignore[attr-defined]  # keeps the memory as long as the view
    return memoryview(array).cast("B")


def open_live(source: nn.Module | Mapping[str, Any]) -> Checkpoint:
    """Return a live module or a state dict as a checkpoint.

    A module's wrappers are known by the types of the objects, never by the names of attributes. A module that FSDP
    shards is gathered, which every rank of its process group has to take part in; the others than rank 0 get nothing.

    Raises:
        UnstorableTensor: a tensor is sparse, quantized, a shard, or of a dtype that cannot be stored.
    """
    if not isinstance(source, nn.Module):
        named = "a state dict in memory"
        return Checkpoint(named, None, "live", (_weight_set(named, source),))
    named = f"a live {model_class(source).__name__}"
    state = _full_state(source) if is_sharded(source) else source.state_dict()
    return Checkpoint(named, None, "live", (_weight_set(named, state),), live_wrappers=live_wrappers(source))


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the model inside any wrappers at the root."""
    while True:
        row = _row(module)
        child = getattr(module, row.component, None) if row and row.component else None
        if not isinstance(child, nn.Module):
            return module
        module = child


def model_class(module: nn.Module) -> type[nn.Module]:
    """Return the class of the model inside any wrappers; of a ``fully_shard``ed one, the class that it had before."""
    classes = type(unwrapped(module)).__mro__
    # `fully_shard` makes a class of (FSDPModule, the model's class) and gives it to the object.
    added = next((number for number, cls in enumerate(classes) if _is_fsdp2(cls)), None)
    found: type[nn.Module] = classes[0] if added is None else classes[added + 1]
    return found


def live_wrappers(module: nn.Module) -> dict[str, str]:
    """Return, for every wrapper in a live module, the path of its component in the names and the wrapper's name.

    Outermost first. A wrapper that leaves no component (``fully_shard``) stands under the path of its module.
    """
    found = {}
    for path, child in module.named_modules():
        row = _row(child)
        if row is None:
            continue
        inserted = [*path.split(".")] if path else []
        if row.component:
            inserted.append(row.component)
        # torch strips these from the names of a live state dict, so a wrapper below them is found without them too.
        stripped = ".".join(c for c in inserted if c not in _HIDDEN)
        found[stripped if row.component not in _HIDDEN else ".".join(inserted)] = row.name
    return found


def is_sharded(module: nn.Module) -> bool:
    """Whether each rank holds only a part of the parameters (FSDP)."""
    return is_fsdp1(module) or any(any(map(_is_fsdp2, type(child).__mro__)) for child in module.modules())


def is_fsdp1(module: nn.Module) -> bool:
    """Whether something in a module is wrapped by ``FullyShardedDataParallel``, which flattens its parameters."""
    return any(_FSDP1 in _type_names(child) for child in module.modules())


def _row(module: nn.Module) -> Wrapper | None:
    names = _type_names(module)
    if any(map(_is_fsdp2, type(module).__mro__)):
        return Wrapper("fsdp", "")
    return next((row for row in WRAPPERS if set(row.types) & set(names)), None)


def _is_fsdp2(cls: type) -> bool:
    """Whether a class is FSDP2's own, which moved between torch's modules from release to release."""
    return cls.__name__ == "FSDPModule" and cls.__module__.startswith("torch.distributed.")


def _type_names(module: nn.Module) -> list[str]:
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in type(module).__mro__]


def _full_state(module: nn.Module) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    # Gathered to rank 0 alone; but FSDP1 on the CPU dies of a segmentation fault over that (torch 2.13).
    to_rank_zero = not (is_fsdp1(module) and all(tensor.is_cpu for tensor in module.parameters()))
    return get_model_state_dict(module, options=StateDictOptions(full_state_dict=True, cpu_offload=to_rank_zero))


def _weight_set(source: str, state: Mapping[str, Any]) -> WeightSet:
    tensors = {
        name: LiveTensor(source, name, value) for name, value in state.items() if isinstance(value, torch.Tensor)
    }
    values = {name: value for name, value in state.items() if not isinstance(value, torch.Tensor)}
    return WeightSet("", tensors, values, getattr(state, "_metadata", None))
