"""Examples: what a model is called with, to see whether it still computes the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from registry.checkpoints.formats.safetensors_file import read_safetensors
from registry.checkpoints.mapping import open_span
from registry.errors.outputs import UnusableExample
from registry.errors.root import RegistryError
from registry.tensors.memory import tensor_of


@dataclass(frozen=True)
class Example:
    """The tensors of one call."""

    args: tuple[torch.Tensor, ...] = ()
    kwargs: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def named(self) -> dict[str, torch.Tensor]:
        """Return the tensors by name; those without a keyword are called by their position, ``"0"``, ``"1"``."""
        return {**{str(position): tensor for position, tensor in enumerate(self.args)}, **self.kwargs}

    def adapted(self, device: torch.device, dtype: torch.dtype | None = None) -> Example:
        """Return copies on a device, the floating-point ones of a dtype; a model may write to what it is given."""

        def copied(tensor: torch.Tensor) -> torch.Tensor:
            floating = tensor.is_floating_point() and dtype is not None
            return tensor.detach().to(device, dtype if floating else None, copy=True)

        return Example(tuple(copied(t) for t in self.args), {name: copied(t) for name, t in self.kwargs.items()})

    def call(self, model: Callable[..., Any]) -> Any:
        """Call a model with it."""
        return model(*self.args, **self.kwargs)


def as_example(inputs: object) -> Example:
    """Return what ``push(..., example=inputs)`` was given as an example.

    Args:
        inputs: a tensor, a tuple of tensors, or a dict of keyword tensors (any mapping: a tokenizer's encoding too).

    Raises:
        UnusableExample: it is something else.
    """
    if isinstance(inputs, Example):
        return inputs
    if isinstance(inputs, torch.Tensor):
        return Example((inputs,))
    if isinstance(inputs, tuple) and inputs:
        for position, value in enumerate(inputs):
            _check(f"its element {position}", value)
        return Example(tuple(inputs))
    if isinstance(inputs, Mapping) and inputs:
        for name, value in inputs.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise UnusableExample(f"its key {name!r} is not a name that a keyword argument can have")
            _check(f"'{name}'", value)
        return Example((), dict(inputs))
    raise UnusableExample(f"it is {'empty' if inputs in ((), {}) else f'of type {type(inputs).__name__}'}")


def read_example(path: str | os.PathLike[str]) -> Example:
    """Read an example from a safetensors file: tensors called ``0``, ``1`` go by position, others by keyword.

    Raises:
        UnusableExample: the file cannot be read, or its positions have gaps.
    """
    try:
        content = open_span(Path(path))
    except RegistryError as error:
        raise UnusableExample(str(error), "give a safetensors file") from error
    try:
        held = read_safetensors(content, os.fspath(path))[0].tensors
        tensors = {name: tensor_of(source) for name, source in held.items()}
    except RegistryError as error:
        raise UnusableExample(f"the safetensors file {os.fspath(path)} cannot be read ({error})") from error
    positions = sorted(int(name) for name in tensors if name.isdecimal())
    if positions != list(range(len(positions))):
        raise UnusableExample(f"the positions in {os.fspath(path)} are {positions} and not 0, 1, and so on")
    keywords = {name: tensor for name, tensor in tensors.items() if not name.isdecimal()}
    checked = as_example(keywords).kwargs if keywords else {}
    return Example(tuple(tensors[str(position)] for position in positions), checked)


def random_example(shapes: Sequence[Sequence[int]], seed: int = 0) -> Example:
    """Return normally distributed float32 inputs of these shapes; the same for the same seed, whatever else is drawn.

    Raises:
        UnusableExample: there is no shape, one has a negative size, the inputs are larger than memory, or the seed is
            larger than torch takes.
    """
    if not shapes or any(size < 0 for shape in shapes for size in shape):
        raise UnusableExample("a shape is one or more sizes that are not negative, such as 1,3,1024")
    if not -(2**63) <= seed < 2**64:
        raise UnusableExample("its seed has more than 64 bits", "give a smaller one, such as --seed 0")
    generator = torch.Generator().manual_seed(seed)
    try:
        return Example(tuple(torch.randn(*shape, generator=generator) for shape in shapes))
    except RuntimeError as error:  # torch has no error of its own for memory that cannot be had.
        raise UnusableExample(f"inputs of {' and '.join(map(str, shapes))} do not fit into memory") from error


def _check(what: str, value: object) -> None:
    if not isinstance(value, torch.Tensor):
        raise UnusableExample(f"{what} is of type {type(value).__name__}")
