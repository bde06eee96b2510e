"""What a class takes of a file: under which reading of its names, and whether a load will take what is stored of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from registry.canonical.expectation import Expectation, knows_counter
from registry.canonical.form import canonical_metadata, is_extra_state
from registry.canonical.nearest import owners, readings
from registry.canonical.unwrap import Unwrapping
from registry.checkpoints.weights import WeightSet
from registry.errors.models import DtypeMismatch, FitError, RandomOutside, UntouchedTensor
from registry.modules.building.build import Built
from registry.modules.fitting.expectation import expect
from registry.modules.fitting.plan import Allowances, Content, castable, make_plan
from registry.modules.fitting.rehearsal import Rehearsed, rehearse
from registry.modules.fitting.report import LoadReport, own_reading
from registry.modules.layout import layout
from registry.tensors.decoding import decode
from registry.tensors.encoding import encode
from registry.tensors.memory import tensor_of
from registry.tensors.source import TensorSource


@dataclass(frozen=True)
class Accepted:
    """A reading of a file's names under which its class takes it by its own loading."""

    expectation: Expectation
    """Exactly these names."""
    notes: tuple[str, ...]


def accepted(
    probe: Built, weights: WeightSet, expectation: Expectation, declared: Sequence[str] | None
) -> Accepted | None:
    """Return the first reading of a file under which its class loads it strictly, although its names are others.

    Args:
        expectation: of the class.
        declared: the declared stack of wrappers.
    """
    found = layout(probe.module)
    if not found.custom:
        return None
    tensors = {name: tensor_of(source) for name, source in weights.tensors.items()}
    states = {name: value for name, value in weights.values.items() if is_extra_state(name)}
    for reading in readings([*tensors, *states], declared, weights.metadata or ()):
        named, ties = _named(reading, weights, expectation)
        if len({reading.bare(name) for name in tensors}) < len(tensors):
            continue
        metadata = canonical_metadata(weights.metadata, reading)
        lacking = [n for n in expectation.defaults if n not in named and not knows_counter(n, metadata)]
        values = {reading.bare(name): decode(encode(value, name, exact=True)) for name, value in states.items()}
        given = {canonical: tensors[name] for canonical, name in named.items()}
        with suppress(UntouchedTensor):
            taken = rehearse(probe.module, found, given, values, metadata, LoadReport(defaulted=tuple(lacking)))
            if taken is None:
                continue
            specs = {canonical: weights.tensors[name].spec for canonical, name in named.items()}
            notes = own_reading(taken.renamed, taken.dropped, tuple(taken.made))
            return Accepted(Expectation(specs, frozenset(values), ties), tuple(notes))
    return None


def _named(
    reading: Unwrapping, weights: WeightSet, expectation: Expectation
) -> tuple[dict[str, str], tuple[tuple[str, ...], ...]]:
    """Return canonical names to those in the file, with tied ones that it lacks; and what is tied of these."""
    aside = owners(reading, list(weights.tensors))
    named = {reading.bare(name): name for name in weights.tensors if name not in aside}
    dropped = {reading.bare(name): reading.bare(kept) for name, kept in weights.aliases.items()}
    groups = [*expectation.ties, *((kept, name) for name, kept in dropped.items())]
    ties = tuple(tuple(group) for group in groups if any(name in named for name in group))
    for group in ties:
        kept = next(name for name in group if name in named)
        named.update({name: named[kept] for name in group if name not in named})
    return named, ties


def refused_by_loads(
    probe: Built,
    tensors: Mapping[str, TensorSource],
    values: Mapping[str, Any],
    ties: Sequence[Sequence[str]],
    metadata: Mapping[str, Mapping[str, Any]] | None,
) -> str:
    """Return why a load refuses what is stored unless it is told more, or ever; nothing if it does not.

    Args:
        tensors: what is going to be stored, by canonical name.
        values: its extra states that are no tensors.
    """
    model, found = type(probe.module).__name__, layout(probe.module)
    content = Content({name: source.spec for name, source in tensors.items()}, frozenset(values), ties, metadata)
    try:
        if found.custom:
            lacking = [n for n in expect(probe.module).defaults if n not in tensors and not knows_counter(n, metadata)]
            report = LoadReport(defaulted=tuple(lacking))
            taken = rehearse(probe.module, found, _read(tensors), _decoded(values), metadata, report)
            if taken is None:
                return f"the own loading of {found.custom} does not take the state dict, or not all of it"
            _check_dtypes(model, taken)
        else:
            make_plan(model, expect(probe.module), content, Allowances())
        if names := probe.random_outside():
            raise RandomOutside(model, names)
    except FitError as error:
        return str(error)
    return ""


def _check_dtypes(model: str, taken: Rehearsed) -> None:
    if taken.cast:
        differences = [(name, got, want) for name, (got, want) in taken.cast.items()]
        raise DtypeMismatch(model, differences, all(castable(*pair) for pair in taken.cast.values()))


def _read(tensors: Mapping[str, TensorSource]) -> dict[str, torch.Tensor]:
    return {name: tensor_of(source) for name, source in tensors.items()}


def _decoded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: decode(encode(value, name, exact=True)) for name, value in values.items()}
