"""Errors of the training state."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.canonical import some
from registry.errors.root import RegistryError


class UnprovedOrder(RegistryError):
    """The parameter order of a positional optimizer state cannot be proved."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the optimizer state cannot be keyed by parameter name, since {why}")


class OptimizerMismatch(RegistryError):
    """The stored optimizer state is of another model or another grouping."""

    def __init__(self, missing: Sequence[str], extra: Sequence[str], why: str = "") -> None:
        parts = [why] if why else []
        if missing:
            parts.append(f"it has no state for {some(missing)}")
        if extra:
            parts.append(f"it has state for {some(extra)}, which this optimizer does not hold")
        super().__init__(
            f"the stored optimizer state does not fit this optimizer: {', and '.join(parts)}; "
            "make the optimizer over the parameters of the same model in the same groups"
        )
