"""The names of a file held against its class: what may be left out, and which reading the class takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from registry.canonical.form import Clues, Form, canonicalize
from registry.canonical.joining import joined
from registry.canonical.nearest import unexpected
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.canonical import ClassMismatch, ShapesDiffer, some
from registry.errors.intake import AllowanceWithoutModel

if TYPE_CHECKING:
    from torch import nn

    from registry.canonical.expectation import Expectation
    from registry.modules.building.build import Built
    from registry.tensors.source import TensorSource


def without_unexpected(
    checkpoint: Checkpoint, weights: WeightSet, expectation: Expectation | None, patterns: Sequence[str]
) -> tuple[WeightSet, tuple[str, ...]]:
    """Return the weights without what the class does not have and may be left out, and a sentence on that.

    Raises:
        AllowanceWithoutModel: something may be left out, and no class says what that is.
    """
    if not patterns:
        return weights, ()
    if expectation is None:
        raise AllowanceWithoutModel(checkpoint.source)
    out = set(unexpected([*weights.tensors, *weights.values], expectation, weights.metadata or (), patterns))
    tensors = {name: tensor for name, tensor in weights.tensors.items() if name not in out}
    values = {name: value for name, value in weights.values.items() if name not in out}
    told: tuple[str, ...] = ()
    if not out:
        told = (f"allow_unexpected left nothing out: {some(patterns)} is of no name that the class does not have",)
    elif checkpoint.contents is None:  # else it is named with all that is not stored
        told = (f"left out, as allow_unexpected says: {some(sorted(out))}",)
    return replace(weights, tensors=tensors, values=values), told


def formed(
    checkpoint: Checkpoint, weights: WeightSet, clues: Clues, probe: Built | None
) -> tuple[Form, Expectation | None, tuple[str, ...]]:
    """Return the canonical names, what they were held against, and what is to be said of how the class reads them.

    Where they are not the class's own, it may take them nevertheless: by hooks, or by a loading of its own.

    Raises:
        RegistryError: as ``canonicalize``.
    """
    if weights.parts and clues.expectation is None:  # with it, all are held against it together
        forms = {
            part: formed(checkpoint, each, _clues_of(each, clues), None)[0] for part, each in weights.parts.items()
        }
        return joined(forms), None, ()
    specs = {name: tensor.spec for name, tensor in weights.tensors.items()}
    try:
        return canonicalize(checkpoint.source, specs, weights.values.keys(), clues), clues.expectation, ()
    except (ClassMismatch, ShapesDiffer):
        if probe is None or clues.expectation is None:
            raise
        from registry.modules.fitting.acceptance import accepted

        found = accepted(probe, weights, clues.expectation, clues.declared)
        if found is None:
            raise
    clues = replace(clues, expectation=found.expectation)
    return canonicalize(checkpoint.source, specs, weights.values.keys(), clues), found.expectation, found.notes


def _clues_of(part: WeightSet, clues: Clues) -> Clues:
    """Return what is known of a set of weights that is a part of a version, which is read by itself."""
    return replace(
        clues,
        live=part.wrappers or (),
        is_live=part.wrappers is not None,
        metadata=part.metadata,
        dropped=part.aliases,
        key=part.key,
        averages={},
    )


def refused(
    probe: Built | None,
    module: nn.Module | None,
    tensors: Mapping[str, TensorSource],
    values: Mapping[str, Any],
    ties: Sequence[Sequence[str]],
    metadata: Mapping[str, Mapping[str, Any]] | None,
) -> tuple[str, ...]:
    """Return a sentence on why no load takes what is going to be stored, or none that is told no more.

    Args:
        probe: what was made of the class, where that is known.
        module: the live module.
        tensors: by canonical name.
        values: extra states that are no tensors.
    """
    if probe is not None:
        from registry.modules.fitting.acceptance import refused_by_loads

        why = refused_by_loads(probe, tensors, values, ties, metadata)
    elif module is not None:
        from registry.modules.fitting.rehearsal import own_refusal

        why = own_refusal(module)
    else:
        return ()
    return (f"no load takes it as it is: {why}",) if why else ()
