"""The verbs, each in the order in which its work is done. This module conducts; the words are elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from registry import settings
from registry.blobs.manifest import Manifest
from registry.blobs.store import BlobStore
from registry.catalog.catalog import Catalog
from registry.catalog.draft import Draft
from registry.catalog.entry import Entry
from registry.reference import parse

if TYPE_CHECKING:
    import torch
    from torch import nn

    from registry.catalog.trail import Event
    from registry.comparison import Difference
    from registry.diagnosis import Finding
    from registry.delivery import Parcel
    from registry.disposal import Collected
    from registry.integrity import AuditReport
    from registry.intake import Inspection
    from registry.models.report import LoadReport

    Source = str | os.PathLike[str] | nn.Module | Mapping[str, Any]

Verify = Literal["always", "once", "never"]
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

DAY = timedelta(days=1)


class Registry:
    """A registry in one folder, created on first use. Its methods are the verbs.

    Args:
        home: the folder; by default ``REGISTRY_HOME``, else the user's data directory.
    """

    def __init__(self, home: str | os.PathLike[str] | None = None) -> None:
        self.home = settings.home(home)

    def __repr__(self) -> str:
        return f"Registry({str(self.home)!r})"

    @cached_property
    def catalog(self) -> Catalog:
        """What is known of the versions; opened, and migrated if need be, when it is first used."""
        return Catalog(self.home)

    @cached_property
    def store(self) -> BlobStore:
        """The bytes."""
        return BlobStore(self.home)

    # Putting in

    def push(
        self,
        source: Source,
        name: str | None = None,
        *,
        from_: str | None = None,
        model: str | None = None,
        init: Mapping[str, Any] | None = None,
        init_as: str = "kwargs",
        weights: str | None = None,
        world_size: int | None = None,
        metrics: Mapping[str, float] | None = None,
        aliases: Sequence[str] = (),
        parent: str | None = None,
        note: str = "",
        force_new: bool = False,
        progress: Progress | None = None,
    ) -> Entry:
        """Store a checkpoint in canonical form as the next version of ``name``.

        Args:
            source: a file, a folder, a state dict, or a live module, wrapped or not.
            name: the model's name; by default the file's stem.
            from_: the wrapper it was trained in: ``"ddp"``, ``"compile(ddp)"``, ``"single"``.
            model: its class as ``"pkg.mod:Class"``, which then judges the names.
            init: what the class is constructed with; by default what the file or the live module offers.
            init_as: how the class takes them: ``"kwargs"``, ``"namespace"`` or ``"dict"``.
            weights: which set of weights, where the file holds several.
            world_size: number of processes that trained it.
            metrics: finite numbers by name.
            aliases: movable names to point at the version.
            parent: reference of the version it was trained from.
            note: free text.
            force_new: make another version even if the name has these weights already.
            progress: called with (bytes done, bytes in all).

        Returns:
            The new version; or the one that has these weights already, with ``reused`` set.

        Raises:
            RegistryError: nothing was stored.
        """
        from registry.deposit import deposit, name_for
        from registry.intake import Question, examine

        draft = Draft(
            name=name_for(source, name),
            world_size=world_size,
            metrics=metrics or {},
            aliases=tuple(aliases),
            parent=self.get(parent).ref if parent is not None else None,
            note=note,
        )
        draft.check()
        inspection = examine(source, Question(from_, model, init, init_as, weights))
        return deposit(self.catalog, self.store, inspection, draft, force_new=force_new, progress=progress)

    def inspect(
        self,
        source: Source,
        *,
        from_: str | None = None,
        model: str | None = None,
        init: Mapping[str, Any] | None = None,
        init_as: str = "kwargs",
        weights: str | None = None,
    ) -> Inspection:
        """Return what a push of this checkpoint would store, without storing it.

        Raises:
            RegistryError: as ``push`` does.
        """
        from registry.intake import Question, examine

        return examine(source, Question(from_, model, init, init_as, weights))

    # Taking out

    @overload
    def load(
        self,
        ref: str,
        *,
        model: nn.Module | None = ...,
        init: Mapping[str, Any] | None = ...,
        device: str | torch.device | None = ...,
        ddp: bool = ...,
        fsdp: bool = ...,
        rank: int | None = ...,
        allow_missing: Sequence[str] = ...,
        allow_unexpected: Sequence[str] = ...,
        cast: torch.dtype | None = ...,
        verify: Verify = ...,
        report: Literal[False] = ...,
    ) -> nn.Module: ...

    @overload
    def load(
        self,
        ref: str,
        *,
        model: nn.Module | None = ...,
        init: Mapping[str, Any] | None = ...,
        device: str | torch.device | None = ...,
        ddp: bool = ...,
        fsdp: bool = ...,
        rank: int | None = ...,
        allow_missing: Sequence[str] = ...,
        allow_unexpected: Sequence[str] = ...,
        cast: torch.dtype | None = ...,
        verify: Verify = ...,
        report: Literal[True],
    ) -> tuple[nn.Module, LoadReport]: ...

    def load(
        self,
        ref: str,
        *,
        model: nn.Module | None = None,
        init: Mapping[str, Any] | None = None,
        device: str | torch.device | None = None,
        ddp: bool = False,
        fsdp: bool = False,
        rank: int | None = None,
        allow_missing: Sequence[str] = (),
        allow_unexpected: Sequence[str] = (),
        cast: torch.dtype | None = None,
        verify: Verify = "always",
        report: bool = False,
    ) -> nn.Module | tuple[nn.Module, LoadReport]:
        """Return a ready model made from a version, or put the version into the caller's model.

        Without ``ddp`` and ``fsdp``: the bare module on one device, in eval mode (the caller's own ``model`` keeps its
        mode). With ``ddp``: a ``DistributedDataParallel`` on the rank's device, in train mode; every rank of the
        process group calls it and gets the version that rank 0 resolved. With ``fsdp``: sharded by ``fully_shard``,
        in train mode, each rank reading only its own part.

        Args:
            ref: ``"pointnet"``, ``"pointnet:v3"``, ``"pointnet:best"``, ``"pointnet@4be1"``.
            model: the caller's instance; by default one is built from the stored class and init arguments.
            init: init arguments instead of the stored ones.
            device: where the model goes; by default the CPU, or the rank's device under ``ddp`` and ``fsdp``.
            rank: the process's rank; by default the process group's.
            allow_missing: patterns (``"head.*"``) of names that may keep their initial value.
            allow_unexpected: patterns of names in the version that may be left out.
            cast: dtype of every floating-point tensor of the model.
            verify: hash every byte ``"always"``, only ``"once"`` for each file that did not change since, or ``"never"``.
            report: return ``(model, LoadReport)``.

        Raises:
            RegistryError: the caller's model is as it was. On any rank, on all ranks.
        """
        from registry.delivery import Order, deliver

        order = Order(model, init, device, allow_missing, allow_unexpected, cast)
        if ddp or fsdp:
            loaded = parallel_load(self, ref, order, fsdp=fsdp, rank=rank, verify=verify)
        else:
            loaded = deliver(self._parcel(self.get(ref), verify), order)
            if model is None:
                loaded[0].eval()
        return loaded if report else loaded[0]

    def state_dict(self, ref: str, *, verify: Verify = "always") -> dict[str, torch.Tensor]:
        """Return a version's weights by canonical name; tied names have one tensor, ``_extra_state`` its value.

        The tensors are mapped from the store, privately: writing to them reaches no file.

        Raises:
            RegistryError: there is no such version, or its bytes are not what was stored.
        """
        from registry.canonical.values import decode

        manifest = self._manifest(self.get(ref))
        opened = self.store.open(manifest, verify=verify)
        opened.check()
        return {**opened.tensors, **{name: decode(value) for name, value in manifest.values.items()}}

    def get(self, ref: str) -> Entry:
        """Return a version's entry.

        Raises:
            RegistryError: the reference is malformed, or names nothing; with the nearest names.
        """
        return self.catalog.resolve(parse(ref))

    def list(self, name: str | None = None, *, trashed: bool = False, limit: int | None = None) -> tuple[Entry, ...]:
        """Return the versions, the newest first; with ``trashed`` those in the trash instead."""
        return self.catalog.entries(name, trashed=trashed, limit=limit)

    def log(self, ref: str | None = None, limit: int | None = None) -> tuple[Event, ...]:
        """Return the trail, the newest event first: of everything, or of one model."""
        return self.catalog.events(parse(ref).name if ref is not None else None, limit)

    # Words that are shared by the verbs

    def _manifest(self, entry: Entry) -> Manifest:
        """Return where an entry's tensors are, after checking that row and manifest are what was pushed."""
        manifest = self.catalog.manifest(entry)
        return manifest

    def _parcel(self, entry: Entry, verify: Verify) -> Parcel:
        from registry.delivery import Parcel
        from registry.models.proof import Proof

        manifest = self._manifest(entry)
        opened = self.store.open(manifest, verify=verify)
        proof = self.catalog.document(entry, "build")
        return Parcel(
            entry, manifest, opened.tensors, opened.check, Proof.decode(proof) if proof else None, verify != "never"
        )


@cache
def _registry_at(home: Path) -> Registry:
    return Registry(home)


def default_registry() -> Registry:
    """Return the registry of the home that ``REGISTRY_HOME`` names now, or of the user's data directory."""
    return _registry_at(settings.home())
