"""What a deferral needs outside of the dispatcher, in place while a module is constructed and for that thread alone.

Parameters are deferred as torch registers them. torch's own initializers, known to do nothing but give one tensor or
one layer values, need not go through the dispatcher: that is a third of making a layer, and ``trunc_normal_`` looks at
its own draws. Whatever leads out of torch, to where the dispatcher sees nothing, stops the deferral; so does what draws
random numbers where no generator of the process shows it.
"""

from __future__ import annotations

import functools
import importlib._bootstrap
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import NoneType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.module import register_module_parameter_registration_hook

from registry.modules.building.deferral import Deferral, current
from registry.modules.building.entropy import replaced, sources

_Function = Callable[..., Any]

_RESETS = (nn.Linear, nn.Embedding, _ConvNd, nn.LayerNorm, nn.GroupNorm)
"""Layers whose ``reset_parameters`` does nothing but give their parameters values."""

_DENSE = (nn.Parameter, torch.Tensor)
_NUMBERS = (float, int, NoneType)
"""Types of what an initializer is given besides: no generator, and no tensor."""

_INITIALIZERS: Mapping[str, Callable[[Deferral, torch.Tensor], bool]] = {
    **dict.fromkeys(("_no_grad_uniform_", "_no_grad_normal_", "_no_grad_trunc_normal_"), Deferral.void),
    **dict.fromkeys(("_no_grad_fill_", "_no_grad_zero_"), lambda deferral, tensor: deferral.leaves_out((tensor,))),
}
"""What those of `nn.init` come to that only give one tensor values, each with how these are left out."""

_WAYS_OUT = ("numpy", "tolist", "data_ptr", "untyped_storage", "__dlpack__")
"""Methods of a tensor that let something else see its memory; all others that do so call one of these."""

_TO_THREADS = ((threading.Thread, "start"), (ThreadPoolExecutor, "submit"))


@contextmanager
def deferring() -> Iterator[Deferral]:
    """Construct what is constructed inside without values. Not to be entered by two threads at once."""
    deferral = Deferral()
    registration = register_module_parameter_registration_hook(_adopt)
    try:
        with replaced([*_replacements(), *sources(_stop)]), deferral:
            yield deferral
    finally:
        registration.remove()


def _stop(reason: str) -> None:
    deferral = current()
    if deferral is not None:
        deferral.stop(reason)


def _adopt(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    deferral = current()
    if deferral is not None:
        deferral.adopt(parameter)


def _replacements() -> Iterator[tuple[Any, str, _Function]]:
    for kind in _RESETS:
        reset = vars(kind)["reset_parameters"]
        if _is_torchs_own(reset):  # not where somebody has put another one in its place, which may do more
            yield kind, "reset_parameters", _without_values(reset)
    reset, statistics = vars(_NormBase)["reset_parameters"], vars(_NormBase)["reset_running_stats"]
    if _is_torchs_own(reset) and _is_torchs_own(statistics):
        yield _NormBase, "reset_parameters", _without_values(reset, statistics)
    for name, leaves_out in _INITIALIZERS.items():
        initializer = getattr(nn.init, name, None)
        if initializer is not None and _is_torchs_own(initializer):
            yield nn.init, name, _initializing(initializer, leaves_out)
    for name in _WAYS_OUT:
        yield torch.Tensor, name, _exposing(name, getattr(torch.Tensor, name))
    for owner, name in _TO_THREADS:
        yield owner, name, _stopping(getattr(owner, name), "starts a thread")
    disabling = getattr(torch.utils._python_dispatch, "_disable_current_modes", None)
    if disabling is not None:  # in which a tensor prints itself, and the dispatcher sees nothing
        yield torch.utils._python_dispatch, "_disable_current_modes", _stopping(disabling, "steps past the dispatcher")
    imports: Any = importlib._bootstrap
    yield imports, "_load_unlocked", _importing(imports._load_unlocked)


def _is_torchs_own(function: _Function) -> bool:
    return function.__code__.co_filename.startswith(torch.__path__[0])


def _without_values(ordinary: _Function, statistics: _Function | None = None) -> _Function:
    """Return a ``reset_parameters`` that gives deferred parameters no values.

    Args:
        statistics: what it does besides, and to buffers alone.
    """

    @functools.wraps(ordinary)
    def reset_parameters(self: nn.Module) -> None:
        deferral = current()
        kind: Any = type(self)
        is_all = not self._buffers if statistics is None else kind.reset_running_stats is statistics
        if deferral is None or not is_all or not deferral.leaves_out(self._parameters.values()):
            ordinary(self)
        elif statistics is not None:
            with torch._C._DisableTorchDispatch():  # to buffers that have their values: nothing to notice
                statistics(self)

    return reset_parameters


def _initializing(ordinary: _Function, leaves_out: Callable[[Deferral, torch.Tensor], bool]) -> _Function:
    """Return an initializer that raises what the ordinary one does, and gives no values where they can be left out."""

    @functools.wraps(ordinary)
    def initialize(tensor: torch.Tensor, *values: Any, **named: Any) -> Any:
        deferral = current()
        if (
            deferral is None
            or type(tensor) not in _DENSE
            or not all(type(value) in _NUMBERS for value in (*values, *named.values()))
            or not leaves_out(deferral, tensor)
        ):
            return ordinary(tensor, *values, **named)
        deferral.check_once(ordinary, tensor.dtype, *values, **named)
        return tensor

    return initialize


def _exposing(name: str, ordinary: _Function) -> _Function:
    @functools.wraps(ordinary)
    def way_out(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        deferral = current()
        if deferral is not None:
            deferral.expose(self, name)
        return ordinary(self, *args, **kwargs)

    return way_out


def _importing(ordinary: _Function) -> _Function:
    @functools.wraps(ordinary)
    def load(*args: Any, **kwargs: Any) -> Any:
        deferral = current()
        if deferral is None:
            return ordinary(*args, **kwargs)
        with deferral.suspended():
            return ordinary(*args, **kwargs)

    return load


def _stopping(ordinary: _Function, what: str) -> _Function:
    @functools.wraps(ordinary)
    def stopping(*args: Any, **kwargs: Any) -> Any:
        _stop(f"the constructor {what}")
        return ordinary(*args, **kwargs)

    return stopping
