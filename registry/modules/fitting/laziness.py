"""Lazy layers: the shapes of an entry held against what the constructor said of a layer that has none yet."""

from __future__ import annotations

import copy
import inspect
import itertools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

from registry.errors.models import DtypeMismatch, ShapeMismatch
from registry.modules.fitting.plan import castable
from registry.modules.layout import Layout
from registry.tensors.memory import dtype_name
from registry.tensors.spec import TensorSpec

_WIDTHS = (840, 1680)
"""Numbers of features to try a layer with; divisible by every small number of groups."""

_MOST_TRIES = 64

Shapes = Mapping[str, tuple[int, ...]]


def check_lazy(found: Layout, tensors: Mapping[str, TensorSpec], model: str, cast: str | None) -> None:
    """Refuse shapes and dtypes that a lazy layer of the module would never take.

    The layer's own ``initialize_parameters`` is run on copies of it without values, for inputs of several sizes. What
    is the same for all of them comes from the constructor (``out_features``), and so do dimensions that are always
    equal (a weight's and its bias'); an entry has to keep to both. A layer that none of these inputs fits is not
    judged.

    Raises:
        ShapeMismatch, DtypeMismatch: naming what it wants.
    """
    lazy = {name: slot for name, slot in found.slots.items() if is_lazy(slot.tensor) and name in tensors}
    if not lazy:
        return
    for name, slot in lazy.items():
        got, want = tensors[name].dtype, dtype_name(slot.tensor.dtype)
        if got != want and not (cast and castable(got, want)):
            raise DtypeMismatch(model, [(name, got, want)], castable(got, want))
    for owner in {id(slot.owner): slot.owner for slot in lazy.values()}.values():
        names = {slot.key: name for name, slot in lazy.items() if slot.owner is owner}
        shapes = {key: tensors[name].shape for key, name in names.items()}
        runs = list(_runs(owner, shapes))
        if differences := [(names[key], shapes[key], want) for key, want in _contradictions(shapes, runs)]:
            raise ShapeMismatch(model, differences)


def _runs(module: nn.Module, shapes: Shapes) -> Iterator[Shapes]:
    """Yield the shapes that a layer gives its lazy tensors, input by input, where it takes the input."""
    if not isinstance(module, LazyModuleMixin):
        return
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for shape in itertools.islice(_inputs(shapes), _MOST_TRIES):
            try:
                tried = without_values(module)
                tried.reset_parameters = lambda *args, **kwargs: None
                given = torch.empty(shape, device="meta")
                required = inspect.signature(tried.initialize_parameters).parameters.values()
                count = sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in required)
                tried.initialize_parameters(*[given] * max(1, count))
                made = {key: _made(tried, key) for key in shapes}
            except Exception:  # code of the layer's own, which such an input does not fit
                continue
            if all(shape is not None for shape in made.values()):
                yield {key: shape for key, shape in made.items() if shape is not None}


def _inputs(shapes: Shapes) -> Iterator[tuple[int, ...]]:
    """Yield shapes of inputs: features in the second place and in the last, and the entry's own shapes."""
    for dimensions, width, size in itertools.product(range(2, 6), _WIDTHS, (6, 7)):
        yield (size, width, *[size] * (dimensions - 2))
        if dimensions > 2:
            yield (*[size] * (dimensions - 1), width)
    for shape in dict.fromkeys(shapes.values()):
        yield shape
        yield (2, *shape)


def without_values(module: nn.Module) -> Any:
    """Return a copy of a module whose registered tensors are on the meta device."""
    tensors = [*nn.Module.parameters(module), *nn.Module.buffers(module)]
    return copy.deepcopy(module, {id(tensor): _on_meta(tensor) for tensor in tensors})


def _on_meta(tensor: torch.Tensor) -> torch.Tensor:
    if isinstance(tensor, UninitializedParameter):
        return UninitializedParameter(device="meta", dtype=tensor.dtype)  # type: ignore[call-arg]
    if isinstance(tensor, UninitializedBuffer):
        return UninitializedBuffer(device="meta", dtype=tensor.dtype)  # type: ignore[call-arg]
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _made(module: nn.Module, key: str) -> tuple[int, ...] | None:
    tensor = {**module._buffers, **module._parameters}.get(key)
    return None if tensor is None or is_lazy(tensor) else tuple(tensor.shape)


def _contradictions(shapes: Shapes, runs: list[Shapes]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield what differs from all that the runs have in common, with the shape that it should have had."""
    if len(runs) < 2 or len({tuple(run.items()) for run in runs}) < 2:
        return  # of one size alone it is not known what would be another with another input
    for key, shape in shapes.items():
        if len({len(run[key]) for run in runs}) > 1:
            continue
        if len(runs[0][key]) != len(shape):
            yield key, runs[0][key]
            continue
        want = list(shape)
        for axis in range(len(shape)):
            made = [run[key][axis] for run in runs]
            if len(set(made)) == 1:
                want[axis] = made[0]
            elif (size := _size_of_its_like(key, axis, made, shapes, runs)) is not None:
                want[axis] = size
        if tuple(want) != shape:
            yield key, tuple(want)


def _size_of_its_like(key: str, axis: int, made: list[int], shapes: Shapes, runs: list[Shapes]) -> int | None:
    """Return the entry's size of an earlier dimension that is the same as this one in every run."""
    for other, shape in shapes.items():
        for place in range(len(shape)):
            if (other, place) == (key, axis):
                return None
            if all(len(run[other]) > place for run in runs) and [run[other][place] for run in runs] == made:
                return shape[place]
    return None
