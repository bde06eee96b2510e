"""What a model class wants in its state dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.tensors.spec import TensorSpec


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

    @property
    def dispensable(self) -> frozenset[str]:
        """Names that a file may lack, as long as it has one of each tie."""
        return self.defaults.union(*self.ties)
