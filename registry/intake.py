"""What a push would store: the weights chosen, the class asked, the names decided. Nothing is written here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from registry.canonical.form import Facts, Form, canonicalise
from registry.canonical.wrappers import parse_declaration
from registry.checkpoints.opening import open_checkpoint
from registry.checkpoints.weights import Checkpoint, TensorSource, WeightSet
from registry.errors.canonical import ContradictedTie
from registry.errors.intake import SeveralWeightSets, UnknownWeightSet

if TYPE_CHECKING:
    from torch import nn

    from registry.canonical.expectation import Expectation
    from registry.models.build import Probe
    from registry.models.specification import ModelSpec


@dataclass(frozen=True)
class Question:
    """What the user said about a checkpoint, in the words of ``push`` and ``inspect``."""

    from_: str | None = None
    model: str | None = None
    init: Mapping[str, Any] | None = None
    init_as: str = "kwargs"
    weights: str | None = None


@dataclass(frozen=True)
class Inspection:
    """A dry run of a push: what is in the checkpoint and what its names become."""

    checkpoint: Checkpoint
    weights: WeightSet
    form: Form
    spec: ModelSpec | None
    probe: Probe | None
    expectation: Expectation | None
    notes: tuple[str, ...]
    live_class: str | None = None
    """``"pkg.mod:Class"`` of a live model."""
    live_init: Mapping[str, Any] = field(default_factory=dict)
    """The init arguments that were remembered on it."""

    @property
    def tensors(self) -> dict[str, TensorSource]:
        """The tensors by canonical name; a tied name that the file dropped has the source of the kept one."""
        tensors = {canonical: self.weights.tensors[name] for name, canonical in self.form.tensors.items()}
        tensors.update({name: tensors[kept] for name, kept in self.form.restored.items()})
        order = {name: i for i, name in enumerate(self.expectation.tensors)} if self.expectation else {}
        return dict(sorted(tensors.items(), key=lambda item: order.get(item[0], len(order))))

    @property
    def ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of canonical names that the class holds as one tensor, or the file as one piece of memory."""
        by_tensor: dict[Any, list[str]] = {}
        for name, source in self.tensors.items():
            by_tensor.setdefault(source.identity, []).append(name)
        groups = [set(names) for names in by_tensor.values() if len(names) > 1]
        for tie in self.expectation.ties if self.expectation else ():
            touching = [group for group in groups if group & set(tie)]
            groups = [group for group in groups if group not in touching]
            groups.append(set(tie).union(*touching))
        order = {name: i for i, name in enumerate(self.tensors)}
        return tuple(sorted(tuple(sorted(group & order.keys(), key=order.__getitem__)) for group in groups))


def examine(
    source: str | os.PathLike[str] | nn.Module | Mapping[str, Any],
    question: Question,
    opened: Checkpoint | None = None,
) -> Inspection:
    """Open a checkpoint, choose its weights and decide their canonical names.

    Args:
        opened: the source as a checkpoint, where the ranks of a job had to open it together.

    Raises:
        RegistryError: of ``checkpoints`` (cannot be read), ``models`` (the class), ``canonical`` (the names).
    """
    declared = parse_declaration(question.from_) if question.from_ is not None else None
    checkpoint = opened if opened is not None else _open(source)
    weights = choose(checkpoint, question.weights)
    spec, probe, expectation, notes = _ask_class(checkpoint, question)
    module = None if isinstance(source, (str, os.PathLike, Mapping)) else source
    form = canonicalise(
        checkpoint.source,
        {name: tensor.spec for name, tensor in weights.tensors.items()},
        weights.values.keys(),
        Facts(
            declared=declared,
            live=checkpoint.live_wrappers,
            is_live=module is not None,
            metadata=weights.metadata,
            dropped=weights.aliases,
            expectation=expectation,
            target=spec.target if spec else "the class",
        ),
    )
    live_class, live_init = _construction(module) if module is not None else (None, {})
    inspection = Inspection(
        checkpoint, weights, form, spec, probe, expectation, (*checkpoint.notes, *notes), live_class, live_init
    )
    _check_ties(inspection)
    return inspection


def _open(source: str | os.PathLike[str] | nn.Module | Mapping[str, Any]) -> Checkpoint:
    if isinstance(source, (str, os.PathLike)):
        return open_checkpoint(source)
    from registry.checkpoints.live import open_live

    return open_live(source)


def choose(checkpoint: Checkpoint, key: str | None) -> WeightSet:
    """Return the one set of weights, or the one that the user named."""
    sets = checkpoint.weight_sets
    if key is not None:
        chosen = [s for s in sets if s.key == key] or [s for s in sets if s.key.rpartition("/")[2] == key]
        if len(chosen) != 1:
            raise UnknownWeightSet(checkpoint.source, key, _counts(sets))
        return chosen[0]
    if len(sets) > 1:
        raise SeveralWeightSets(checkpoint.source, _counts(sets))
    return sets[0]


def _counts(sets: tuple[WeightSet, ...]) -> dict[str, int]:
    return {s.key or "(the file itself)": len(s.tensors) for s in sets}


def _ask_class(
    checkpoint: Checkpoint, question: Question
) -> tuple[ModelSpec | None, Probe | None, Expectation | None, tuple[str, ...]]:
    """Build the class, if one is known, and return what it wants."""
    if question.model is None:
        return None, None, None, ()
    from registry.models.build import probe
    from registry.models.expectation import expect
    from registry.models.specification import ModelSpec

    spec = ModelSpec(question.model, dict(question.init or {}), question.init_as)
    notes: tuple[str, ...] = ()
    if question.init is None and checkpoint.init:
        offered = spec.accepted(checkpoint.init)
        spec = replace(spec, init=offered)
        if offered:
            notes = (f"init arguments taken from the file: {', '.join(sorted(offered))}",)
    probed = probe(spec)
    return spec, probed, expect(probed.module), notes


def _construction(module: nn.Module) -> tuple[str | None, dict[str, Any]]:
    """Return a live model's class and the init arguments that were remembered on it."""
    from registry.checkpoints.live import model_class, unwrapped
    from registry.construction import remembered

    cls = model_class(module)
    # A class of the running script or of a function cannot be imported by who loads the version.
    importable = cls.__module__ != "__main__" and "<locals>" not in cls.__qualname__
    return (f"{cls.__module__}:{cls.__qualname__}" if importable else None), remembered(unwrapped(module)) or {}


def _check_ties(inspection: Inspection) -> None:
    """Refuse a file in which names that the class ties hold different values."""
    for tie in inspection.expectation.ties if inspection.expectation else ():
        sources = [inspection.tensors[name] for name in tie if name in inspection.tensors]
        if not sources:
            continue
        first = sources[0]
        for other in sources[1:]:
            if other.identity != first.identity and (other.spec != first.spec or other.buffer() != first.buffer()):
                target = inspection.spec.target if inspection.spec else "the class"
                raise ContradictedTie(inspection.checkpoint.source, target, tie)
