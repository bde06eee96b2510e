"""Versions that a library makes of what is kept beside their weights, and adapters on their bases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from registry.attachments.files import configuration
from registry.catalog.entry import Entry
from registry.errors.libraries import BaseMissing, BaseNeeded, NotAnAdapter, OtherBase
from registry.home.home import Home, OpenedVersion
from registry.modules.builders.adapters import AdapterSpec
from registry.modules.builders.specification import LibrarySpec
from registry.modules.builders.table import library
from registry.modules.building.specification import Constructs
from registry.modules.layout import bare, layout
from registry.tensors.manifest import Manifest, StoredTensor

if TYPE_CHECKING:
    from registry.loading.load import LoadRequest

ADAPTER = "peft"
"""The builder of what is put on a base."""


def recorded_spec(home: Home, entry: Entry, base: Entry | None = None) -> Constructs:
    """Return what makes a version's model, after asking whether what that imports may be imported.

    Args:
        base: of an adapter, where it is not the recorded one.

    Raises:
        BaseMissing, BaseNeeded: an adapter has no base here.
        RegistryError: as ``load.specification``.
    """
    from registry.loading.load import LoadRequest, specification

    if entry.builder is None:
        return specification(entry, LoadRequest(), home.recorded_class(entry))
    dtypes = {name: stored.spec.dtype for name, stored in home.manifest(entry).tensors.items()}
    config = configuration(home, entry).files
    if entry.builder != ADAPTER:
        return LibrarySpec(entry.builder, config, dtypes, entry.ref)
    under = recorded_spec(home, base if base is not None else base_entry(home, entry))
    if isinstance(under, AdapterSpec):
        raise NotAnAdapter(f"the base of {entry.ref}")
    return AdapterSpec(under, config, dtypes, entry.ref)


def base_entry(home: Home, entry: Entry, given: str | None = None) -> Entry:
    """Return the version that an adapter is put on: any live one with the recorded weights, or the one that was given.

    Raises:
        NotAnAdapter: the entry is none.
        BaseNeeded, BaseMissing: none is known, or none is here.
        OtherBase: the one given has other weights.
    """
    if entry.builder != ADAPTER:
        raise NotAnAdapter(entry.ref)
    if given is not None:
        base = home.resolve(given)
        if entry.base is not None and base.digest != entry.base:
            raise OtherBase(entry.ref, base.ref, entry.base)
        return base
    if entry.base is None:
        raise BaseNeeded(entry.ref)
    found = home.catalog.with_weights(entry.base)
    if found is None:
        raise BaseMissing(entry.ref, entry.base)
    return found


def combined(version: OpenedVersion, module: nn.Module) -> OpenedVersion:
    """Return an adapter together with its base, under the names that their tensors have in a live model.

    Without a base, the model keeps the tensors that it has: it is the caller's, and they are not the version's.
    """
    peft: Any = library(ADAPTER, version.entry.ref)
    model = bare(module)
    slots = layout(model).slots
    adapter, under = peft.adapter_names(model), peft.base_names(model)
    tensors: dict[str, torch.Tensor] = {}
    stored: dict[str, StoredTensor] = {}
    base = version.base
    for name, slot in slots.items():
        own = adapter.get(name, name)
        if own in version.tensors:
            tensors[name], stored[name] = version.tensors[own], version.manifest.tensors[own]
        elif name in under and base is None:
            tensors[name] = slot.tensor.detach()
        elif name in under and base is not None and under[name] in base.tensors:
            tensors[name], stored[name] = base.tensors[under[name]], base.manifest.tensors[under[name]]
    known = set(adapter.values()) | slots.keys()
    tensors.update({name: tensor for name, tensor in version.tensors.items() if name not in known})
    manifest = Manifest(stored, _ties(tensors, under, base.manifest.ties if base is not None else ()))

    def check() -> None:
        version.check()
        if base is not None:
            base.check()

    return replace(version, manifest=manifest, tensors=tensors, check=check)


def _ties(
    tensors: Mapping[str, torch.Tensor], under: Mapping[str, str], ties: tuple[tuple[str, ...], ...]
) -> tuple[tuple[str, ...], ...]:
    """Return the groups of live names that are one tensor of the base."""
    first = {name: group[0] for group in ties for name in group}
    groups: dict[str, list[str]] = {}
    for name, own in under.items():
        if name in tensors:
            groups.setdefault(first.get(own, own), []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def with_library(
    home: Home, version: OpenedVersion, request: LoadRequest, open_base: Callable[[Entry], OpenedVersion]
) -> OpenedVersion:
    """Return an opened version with what its library makes of it, and an adapter with its base.

    Raises:
        NotAnAdapter, BaseNeeded, BaseMissing, OtherBase: as ``base_entry``. Of a model that the caller brought, a base
            that is not known is the one in it.
    """
    entry, base = version.entry, None
    if entry.builder == ADAPTER or request.base is not None:
        is_callers = request.model is not None and request.base is None and entry.base is None
        base = None if is_callers else open_base(base_entry(home, entry, request.base))
    if not request.is_as_recorded:
        return replace(version, base=base)
    return replace(version, spec=recorded_spec(home, entry, base.entry if base is not None else None), base=base)
