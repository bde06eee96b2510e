"""Adapters of PEFT as checkpoints, and what is built to put one on its base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from registry.canonical.expectation import Expectation
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.libraries import LibraryRefused
from registry.errors.root import RegistryError
from registry.modules.builders.patterns import check_patterns
from registry.modules.builders.specification import bounded, check_counts, failed, give_dtypes
from registry.modules.builders.table import ADAPTER, library, offline, parsed
from registry.modules.building.specification import Constructs
from registry.modules.holding import Holdings
from registry.modules.layout import bare, layout
from registry.modules.live import LiveTensor
from registry.tensors.spec import tensor_digest, weights_digest


@dataclass(frozen=True)
class AdapterSpec:
    """A base and the configuration of an adapter on it; built as a class with its arguments is."""

    base: Constructs
    config: Mapping[str, str]
    dtypes: Mapping[str, str] = field(default_factory=dict)
    """Of the adapter's tensors, by the names in its file."""
    what: str = "the adapter"

    @property
    def target(self) -> str:
        return "peft"

    def construct(self) -> nn.Module:
        """Make the base and put the adapter on it.

        Raises:
            LibraryMissing, LibraryRefused, ModelError: either cannot be made here.
        """
        peft: Any = library("peft", self.what)
        found = parsed(self.config.get(ADAPTER))
        if not isinstance(found, dict):
            raise LibraryRefused("peft", f"there is no {ADAPTER}")
        check_counts("peft", found)
        base = self.base.construct()
        names = (name for name, _ in (*base.named_modules(remove_duplicate=False), *base.named_parameters()))
        check_patterns("peft", found, names)
        try:
            with offline(), bounded("peft"):
                module: nn.Module = peft.wrap(base, found)
        except RegistryError:
            raise
        except (Exception, SystemExit) as error:
            raise failed("peft", error) from error
        names = peft.adapter_names(module)
        give_dtypes(module, {live: self.dtypes[own] for live, own in names.items() if own in self.dtypes})
        return module


def open_adapter(module: nn.Module) -> Checkpoint:
    """Return the active adapter of a live model as a checkpoint, under the names that its file would have.

    Raises:
        LibraryMissing, LibraryRefused: it is of a kind that is saved otherwise than it is held.
    """
    named = f"a live {type(bare(module)).__name__}"
    peft: Any = library("peft", named)
    slots = layout(bare(module)).slots
    tensors = {own: LiveTensor(named, own, slots[name].tensor) for name, own in peft.adapter_names(module).items()}
    return Checkpoint(named, None, "live", (WeightSet("", tensors),))


def base_checkpoint(module: nn.Module) -> Checkpoint:
    """Return the base of a live adapter as a checkpoint, under its own names.

    Raises:
        BaseAltered: it no longer has the weights that it had without the adapter.
    """
    peft: Any = library("peft", "the adapter")
    named = f"the base of a live {type(bare(module)).__name__}"
    tensors = {name: LiveTensor(named, name, tensor) for name, tensor in peft.base_tensors(module).items()}
    return Checkpoint(named, None, "live", (WeightSet("", tensors),))


def base_digest(base: Checkpoint) -> str:
    """Return the digest that the weights of a base have as a version."""
    digests: dict[object, str] = {}
    [weights] = base.weight_sets
    for source in weights.tensors.values():
        if source.identity not in digests:
            digests[source.identity] = tensor_digest(source.spec, source.pieces(own=False))
    return weights_digest((name, t.spec, digests[t.identity]) for name, t in weights.tensors.items())


def only(held: Holdings, module: nn.Module, *, adapter: bool, base: bool) -> Holdings:
    """Return what a live adapter holds under the names of its file, and of its base under the base's own."""
    peft: Any = library("peft", held.model)
    model = bare(module)
    names = {**(peft.base_names(model) if base else {}), **(peft.adapter_names(model) if adapter else {})}
    tensors = {own: held.tensors[live] for live, own in names.items() if live in held.tensors}
    ties = tuple(
        group
        for tie in held.expectation.ties
        if len(group := tuple(dict.fromkeys(names[live] for live in tie if live in names))) > 1
    )
    expectation = Expectation({name: source.spec for name, source in tensors.items()}, ties=ties)
    return Holdings(held.model, tensors, {}, expectation)
