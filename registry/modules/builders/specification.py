"""What a library makes a model of: its name, plain data, and the dtypes that the tensors have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from registry.errors.libraries import LibraryRefused
from registry.errors.models import ConstructorFailed, NotAModel, described
from registry.errors.root import RegistryError
from registry.modules.builders.allocation import Bounded
from registry.modules.builders.table import library, offline, parsed
from registry.modules.layout import layout

MOST_PARTS = 500_000
"""Modules in a model; the largest that is published has a fifth of that."""

MOST_COUNTED = 1 << 21
"""Layers, labels and whatever else a configuration counts: of many things a library makes a list before any module."""
_COUNT = re.compile(
    r"(^|_)(num|n|layers?|depths?|blocks?|labels|classes|experts|heads|stages?|repeats?)(_|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class LibrarySpec:
    """A builder and the configurations that it makes a model of; built as a class with its arguments is."""

    builder: str
    config: Mapping[str, str]
    """Texts by path."""
    dtypes: Mapping[str, str] = field(default_factory=dict)
    """Of tensors by canonical name: a configuration tells one for all, and some are kept in another."""
    what: str = "the model"
    """How it is called in an error."""

    @property
    def target(self) -> str:
        return self.builder

    @cached_property
    def values(self) -> dict[str, Any]:
        """The configurations, parsed.

        Raises:
            LibraryRefused: one is not what it should be.
        """
        found = {path: parsed(text) for path, text in self.config.items()}
        if wrong := [path for path, value in found.items() if value is None]:
            raise LibraryRefused(self.builder, f"{wrong[0]} is not valid JSON")
        return found

    def construct(self) -> nn.Module:
        """Let the library make the model. Nothing is fetched and no code but the library's runs.

        Raises:
            LibraryMissing, LibraryRefused: there is no such library here, or it has no such model, or an endless one.
            ConstructorFailed, NotAModel: it raised, or made something else.
        """
        check_counts(self.builder, self.values)
        makes = library(self.builder, self.what)
        try:
            with offline(), bounded(self.builder):
                module = makes.build(self.values)
        except RegistryError:
            raise
        except (Exception, SystemExit) as error:
            raise failed(self.builder, error) from error
        if not isinstance(module, nn.Module):
            raise NotAModel(self.builder, described(module))
        give_dtypes(module, self.dtypes)
        return module


def failed(builder: str, error: BaseException) -> ConstructorFailed:
    """Return the error that says what a library raised over a configuration; of some, the first line says nothing."""
    said = " ".join(str(error).split())
    is_broken = isinstance(error, ImportError)
    hint = (
        f"an installation of {builder} cannot be imported here; repair it" if is_broken else "check its configuration"
    )
    return ConstructorFailed(builder, type(error).__name__, said[:300], hint)


def check_counts(builder: str, value: Any, key: str = "") -> None:
    """Refuse a configuration that counts more of anything than a model has.

    Raises:
        LibraryRefused
    """
    if isinstance(value, dict):
        for name, part in value.items():
            check_counts(builder, part, name)
    elif isinstance(value, list):
        for part in value:
            check_counts(builder, part, key)
    elif isinstance(value, int) and value > MOST_COUNTED and _COUNT.search(key):
        raise LibraryRefused(builder, f"its {key:.60} is {_figure(value)}")


def _figure(number: int) -> str:
    return f"{number:,}" if number < 1 << 62 else "a number of more digits than any"


@contextmanager
def bounded(builder: str) -> Iterator[None]:
    """Let no configuration have more parts made than a model has, or memory taken: a number in it is a stranger's.

    Raises:
        LibraryRefused: there would be more.
    """
    left = count(MOST_PARTS, -1)

    def counted(module: nn.Module, name: str, part: nn.Module | None) -> None:
        if next(left) <= 0:
            raise LibraryRefused(builder, f"it would have more than {MOST_PARTS:,} parts")

    hook = register_module_module_registration_hook(counted)
    try:
        with Bounded(builder):
            yield
    finally:
        hook.remove()


def give_dtypes(module: nn.Module, dtypes: Mapping[str, str]) -> None:
    """Let the floating-point tensors of a new model have these dtypes; each stays the object that it is."""
    if not dtypes:
        return
    for name, slot in layout(module).slots.items():
        dtype = getattr(torch, dtypes.get(name, ""), None)
        tensor = slot.tensor
        if isinstance(dtype, torch.dtype) and dtype != tensor.dtype and dtype.is_floating_point:
            if not tensor.is_floating_point():
                continue
            with torch.no_grad():
                tensor.data = tensor.data.to(dtype)
