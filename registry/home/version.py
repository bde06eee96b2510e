"""A version, opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from registry.catalog.entry import Entry

if TYPE_CHECKING:
    import torch

    from registry.modules.building.specification import Constructs
    from registry.modules.building.trust import Recorded
    from registry.tensors.manifest import Manifest

LoadVerify = Literal["always", "once", "never", "outputs"]


@dataclass(frozen=True)
class OpenedVersion:
    """An entry with its weights, mapped and being checked."""

    entry: Entry
    manifest: Manifest
    tensors: Mapping[str, torch.Tensor]
    check: Callable[[], None]
    """Waits until every byte is checked, and raises if one is not as it was stored."""
    verified: bool
    """Whether ``check`` checks anything."""
    recorded: Recorded | None
    """The class that the entry names."""
    spec: Constructs | None = None
    """What a library makes of what is kept beside the weights, where the entry names a builder."""
    base: OpenedVersion | None = None
    """Of an adapter: the version that it is put on."""
