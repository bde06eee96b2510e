"""A version as the user sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from registry.canonical.unwrap import Unwrapping


@dataclass(frozen=True)
class Entry:
    """One immutable version of a model, with everything that is known of it but its bytes."""

    name: str
    version: int
    digest: str
    """Of the canonical weights: equal however the file was saved."""
    record_digest: str
    """Of everything that decides what is loaded: weights, ties, extra state, unwrapping, class, init arguments."""
    seal: str
    """Of name, number and record: what the catalog says of them together."""
    wrapper: str
    """What surrounded the model: ``"none"`` (none visible), ``"ddp"``, ``"compile(ddp)"``; outermost first."""
    saved_as: str
    """``"wrapped"`` or ``"bare"``: whether the names in the file went through the wrapper."""
    unwrapping: Unwrapping
    world_size: int | None
    model_class: str | None
    """``"pkg.mod:Class"``."""
    init: Mapping[str, Any]
    init_as: str
    """How the class takes them: ``"kwargs"``, ``"namespace"`` or ``"dict"``; ``"unknown"`` where nobody said with which
    it was constructed, which is not the same as with none."""
    source_name: str
    source_sha256: str | None
    source_format: str
    weights_key: str
    """Where in the file the weights were: ``""``, ``"state_dict"``."""
    tensor_count: int
    parameter_count: int
    """Elements in all tensors, a tied one counted once."""
    byte_count: int
    dtypes: Mapping[str, int]
    """Number of tensors of each dtype."""
    metrics: Mapping[str, float]
    aliases: tuple[str, ...]
    parent: str | None
    """Reference of the version it was trained from (``"pointnet:v2"``)."""
    note: str
    torch_version: str | None
    git_commit: str | None
    creator: str
    created_at: datetime
    """In UTC."""
    trashed_at: datetime | None = None
    origin: str | None = None
    """Where it was copied from, as JSON; None for a version that was pushed here."""
    reused: bool = False
    """Set on what ``push`` returns when the name already had these weights."""
    notices: tuple[str, ...] = ()
    """Set on what ``push`` returns: what it has to say of the file, such as objects in it that were not read, and of a
    version that was there already, whose metrics it changed."""

    @property
    def ref(self) -> str:
        return f"{self.name}:v{self.version}"
