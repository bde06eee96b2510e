"""Patches that skip the random initialisation of parameters, in one thread, and watch whether that can be seen.

Two of them do it; the third only spares torch's most used layers the way to the first. Under both together every
registered parameter lies on the meta device, with the identity that it was created with, and in-place operations on
meta tensors do nothing, which is all that they could do. Buffers stay real. A constructor that reads a parameter's
values fails loudly, since there are none. What could differ in silence is watched: see `Watch`.
"""

from __future__ import annotations

import functools
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

_IN_PLACE = frozenset(
    {
        *("uniform_", "normal_", "zero_", "fill_", "copy_", "mul_", "add_", "sub_", "div_", "pow_", "exp_", "log_"),
        *("clamp_", "clamp_min_", "clamp_max_", "erfinv_", "bernoulli_", "exponential_", "random_", "sqrt_", "neg_"),
        *("log_normal_", "cauchy_", "geometric_", "masked_fill_", "fill_diagonal_", "sign_", "abs_", "lerp_"),
        *("constant_", "ones_", "zeros_", "eye_", "dirac_", "trunc_normal_", "xavier_uniform_", "xavier_normal_"),
        *("kaiming_uniform_", "kaiming_normal_", "__imul__", "__iadd__", "__isub__", "__itruediv__"),
    }
)
"""Operations that change nothing but values. Left to torch, the first one on meta imports 822 modules (0.5 s)."""

_REVEALING = frozenset({"data_ptr", "untyped_storage", "storage", "_typed_storage", "get_device", "is_shared"})
"""Functions that answer on meta, and otherwise than on a real device."""

_REVEALING_ATTRIBUTES = frozenset(
    {
        torch.Tensor.device.__get__,
        torch.Tensor.is_cpu.__get__,  # type: ignore[attr-defined]
        torch.Tensor.is_cuda.__get__,  # type: ignore[attr-defined]
        torch.Tensor.is_meta.__get__,  # type: ignore[attr-defined]
    }
)


class Watch:
    """What a constructor did that could make the skipped build differ from an ordinary one."""

    def __init__(self) -> None:
        self.obstacle = ""
        """Why the skipped build cannot be used; empty if nothing stands in the way."""
        self.noticed = ""
        """How the constructor could have told that its parameters are on meta; then only a comparison can tell."""


_ORDINARY_RESETS: dict[type[nn.Module], Callable[[Any], None]] = {
    cls: vars(cls)["reset_parameters"] for cls in (nn.Linear, nn.Embedding, nn.LayerNorm, nn.GroupNorm, _ConvNd)
}
"""Layers whose ``reset_parameters`` does nothing but give their parameters values; a third of making them."""

_thread = threading.local()
_ordinary_register = nn.Module.register_parameter


@contextmanager
def skipped_initialisation() -> Iterator[Watch]:
    """Build what is constructed inside without initial values. Not to be entered by two threads at once."""
    watch = Watch()
    outer = getattr(_thread, "watch", None)
    previous = nn.Module.register_parameter
    _thread.watch = watch
    nn.Module.register_parameter = _register_on_meta  # type: ignore[method-assign,assignment]
    # Not where somebody has put another one in its place, which may do more.
    known = {cls: reset for cls, reset in _ORDINARY_RESETS.items() if vars(cls)["reset_parameters"] is reset}
    for cls, reset in known.items():
        cls.reset_parameters = _unless_on_meta(reset)  # type: ignore[attr-defined]
    try:
        with _Skip(watch):
            yield watch
    finally:
        for cls, reset in known.items():
            cls.reset_parameters = reset  # type: ignore[attr-defined]
        nn.Module.register_parameter = previous  # type: ignore[method-assign]
        _thread.watch = outer


@contextmanager
def ordinary_initialisation() -> Iterator[None]:
    """Build what is constructed inside as ever, also within a constructor that is itself being skipped."""
    outer = getattr(_thread, "watch", None)
    _thread.watch = None
    try:
        yield
    finally:
        _thread.watch = outer


def can_skip() -> bool:
    """Whether the installed torch can exchange what a parameter holds while keeping the object (2.2 and later)."""
    return hasattr(torch._C, "_swap_tensor_impl")


def exchange(tensor: torch.Tensor, other: torch.Tensor) -> None:
    """Give a tensor object the contents, device and dtype of another; its identity, type and attributes stay.

    ``torch.utils.swap_tensors`` does the same and refuses tensors that something refers to weakly, as LSTM does; the
    reference goes to the object, which stays, so that is no reason here.
    """
    other.requires_grad_(tensor.requires_grad)
    torch._C._swap_tensor_impl(tensor, other)


def _unless_on_meta(ordinary: Callable[[nn.Module], None]) -> Callable[[nn.Module], None]:
    """Return a ``reset_parameters`` that does nothing where there is nothing but parameters on meta."""

    def reset_parameters(self: nn.Module) -> None:
        with torch._C.DisableTorchFunction():
            is_needed = bool(self._buffers) or any(p is not None and not p.is_meta for p in self._parameters.values())
        if is_needed or getattr(_thread, "watch", None) is None:
            ordinary(self)

    return reset_parameters


def _register_on_meta(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
    watch: Watch | None = getattr(_thread, "watch", None)
    if watch is not None and param is not None:
        with torch._C.DisableTorchFunction():  # what is asked here is not the constructor's question
            _to_meta(watch, module, name, param)
            _ordinary_register(module, name, param)
    else:
        _ordinary_register(module, name, param)


def _to_meta(watch: Watch, module: nn.Module, name: str, param: nn.Parameter) -> None:
    if type(param) is not nn.Parameter:
        watch.obstacle = f"'{name}' of {type(module).__name__} is a {type(param).__name__}"
    elif param.is_cpu:
        if _is_shared_memory(param):
            watch.noticed = f"something else holds the memory of '{name}' of {type(module).__name__}"
        exchange(param, torch.empty_like(param, device="meta", requires_grad=False))
    elif not param.is_meta:
        watch.obstacle = f"{type(module).__name__} creates '{name}' on {param.device}"


def _is_shared_memory(param: nn.Parameter) -> bool:
    """Whether another tensor sees the same memory, and with it the values that are not going to be there."""
    return _uses(param) > _uses_of_its_own()


def _uses(param: nn.Parameter) -> float:
    count: Callable[[int], int] | None = getattr(torch._C, "_storage_Use_Count", None)
    return count(param.untyped_storage()._cdata) if count is not None else math.inf


@functools.cache
def _uses_of_its_own() -> float:
    """Return how often memory counts as used that only one tensor holds, which differs from torch to torch."""
    return min(_uses(nn.Parameter(torch.empty(1))), sys.maxsize)


class _Skip(TorchFunctionMode):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        keywords: Mapping[str, Any] = kwargs or {}
        target = args[0] if args else keywords.get("tensor")
        if not isinstance(target, torch.Tensor) or not target.is_meta:
            return func(*args, **keywords)
        if name in _IN_PLACE:
            return target
        if name in _REVEALING or func in _REVEALING_ATTRIBUTES:
            self._watch.noticed = "the constructor asks where its parameters are"
        try:
            return func(*args, **keywords)
        except Exception:
            self._watch.noticed = "the constructor reads its parameters"  # and may catch the error
            raise
