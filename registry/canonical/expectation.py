"""What a model class wants in its state dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from registry.tensors.paths import below
from registry.tensors.spec import TensorSpec


class HasSpec(Protocol):
    """A tensor somewhere."""

    @property
    def spec(self) -> TensorSpec:
        """Its dtype and shape."""


@dataclass(frozen=True)
class Expectation:
    """The names that a bare model's own ``state_dict()`` has, and what may be absent from a file of it."""

    tensors: Mapping[str, TensorSpec]
    """By canonical name, in the order of the state dict."""
    values: frozenset[str] = frozenset()
    """Names whose values are no tensors (``_extra_state``)."""
    ties: tuple[tuple[str, ...], ...] = ()
    """Groups of names that are one tensor; a file needs one name of each."""
    defaults: frozenset[str] = frozenset()
    """Names that files from before torch 0.4.1 do not have: ``num_batches_tracked`` of batch normalization."""

    @property
    def names(self) -> frozenset[str]:
        return self.values.union(self.tensors)

    def below(self, part: str) -> Expectation:
        """Return what one part of the model wants, by its own names."""
        names = below(part, (*self.tensors, *self.values))
        ties = (tuple(names[name] for name in tie if name in names) for tie in self.ties)
        return Expectation(
            {names[name]: spec for name, spec in self.tensors.items() if name in names},
            frozenset(names[name] for name in self.values if name in names),
            tuple(tie for tie in ties if len(tie) > 1),
            frozenset(names[name] for name in self.defaults if name in names),
        )

    @property
    def dispensable(self) -> frozenset[str]:
        """Names that a file may lack, as long as it has one of each tie."""
        return self.defaults.union(*self.ties)


COUNTER = "num_batches_tracked"
"""Buffer of batch normalization that torch 0.4.1 introduced; earlier files do not have it."""

_STATISTICS = ("running_mean", "running_var")


def counters(tensors: Mapping[str, HasSpec]) -> frozenset[str]:
    """Return the names of counters where no class says so: of one number, beside the statistics of its module."""
    found = set()
    for name, held in tensors.items():
        path, _, key = name.rpartition(".")
        beside = [f"{path}.{other}" if path else other for other in _STATISTICS]
        if key == COUNTER and held.spec == TensorSpec("int64", ()) and all(other in tensors for other in beside):
            found.add(name)
    return frozenset(found)


def knows_counter(name: str, metadata: Mapping[str, Mapping[str, Any]] | None) -> bool:
    """Whether a file that lacks a counter was written by a torch that had it, so that its absence is a loss.

    Args:
        name: of the counter, which is one of an expectation's ``defaults``.
        metadata: the ``_metadata`` of the state dict, under canonical module paths.
    """
    version = (metadata or {}).get(name.rpartition(".")[0], {}).get("version")
    return isinstance(version, int) and version >= 2
