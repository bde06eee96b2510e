"""Wrapper values: what a wrapper owns beside the model inside, such as ``n_averaged`` of an ``AveragedModel``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from registry.tensors.paths import path_below


@dataclass(frozen=True, slots=True)
class Owner:
    """Which wrapper a value belongs to, wherever the names in a file put it."""

    path: str
    """Canonical path of the module that is wrapped; empty for the whole model."""
    wrapper: str
    """Name of the wrapper's row in the table: ``"ema"``."""
    level: int
    """How many wrappers of that name stand around it at the same path."""
    name: str
    """Below the wrapper: ``"n_averaged"``."""

    def __str__(self) -> str:
        return f"{self.path}.{self.name}" if self.path else self.name


@dataclass(frozen=True, slots=True)
class WrapperValue:
    """One value that a wrapper owns, as a version stores it."""

    owner: Owner
    value: Any
    """Encoded by ``registry.tensors.encoding``."""

    def below(self, part: str) -> WrapperValue | None:
        """Return it as one part of the model has it; None where its wrapper is not in that part."""
        path = path_below(part, self.owner.path)
        return None if path is None else WrapperValue(replace(self.owner, path=path), self.value)

    def to_json(self) -> list[Any]:
        owner = self.owner
        return [owner.path, owner.wrapper, owner.level, owner.name, self.value]

    @classmethod
    def from_json(cls, raw: list[Any]) -> WrapperValue:
        path, wrapper, level, name, value = raw
        return cls(Owner(path, wrapper, level, name), value)
