"""What a push would store: the weights chosen, the class asked, the names decided. Nothing is written here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from registry.canonical.form import Facts, Form, canonicalise
from registry.canonical.wrappers import parse_declaration
from registry.checkpoints.opening import open_checkpoint
from registry.checkpoints.weights import Checkpoint, TensorSource, WeightSet
from registry.errors.canonical import ClassMismatch, ContradictedTie, ShapesDiffer
from registry.errors.intake import InitInFile, NoInitInFile, SeveralWeightSets, UnknownWeightSet
from registry.errors.models import ConstructorFailed, InitRefused
from registry.offer import as_options
from registry.trust import BUILDERS

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
    init_from_file: bool = False


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
    weights = _choose(checkpoint, question.weights)
    spec, offered = _specified(checkpoint, question)
    module = None if isinstance(source, (str, os.PathLike, Mapping)) else source
    with _offering(offered):
        probe, expectation = _ask_class(spec)
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
    live_class, live_init, unknown = _construction(module) if module is not None else (None, {}, ())
    notes = (*checkpoint.notes, *(unknown if spec is None else _said(checkpoint, question, spec, offered)))
    inspection = Inspection(checkpoint, weights, form, spec, probe, expectation, notes, live_class, live_init)
    _check_ties(inspection)
    return inspection


def _open(source: str | os.PathLike[str] | nn.Module | Mapping[str, Any]) -> Checkpoint:
    if isinstance(source, (str, os.PathLike)):
        return open_checkpoint(source)
    from registry.checkpoints.live import open_live

    return open_live(source)


def _choose(checkpoint: Checkpoint, key: str | None) -> WeightSet:
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


def _specified(checkpoint: Checkpoint, question: Question) -> tuple[ModelSpec | None, dict[str, Any]]:
    """Return the class that is named with its arguments, and the arguments that the file offers besides.

    What a file says of itself is a stranger's word. It reaches the class only if that was asked for: a constructor may
    open the path that it is given.

    Raises:
        NoInitInFile: it was asked for, and there is nothing to take or nobody to give it to.
    """
    if question.model is None:
        if question.init_from_file:
            raise NoInitInFile(checkpoint.source, "is pushed without a class that could take constructor arguments")
        return None, {}
    from registry.models.specification import ModelSpec

    spec = ModelSpec(question.model, dict(question.init or {}), question.init_as)
    if question.init_from_file and not checkpoint.init:
        raise NoInitInFile(checkpoint.source, "holds no constructor arguments")
    if not checkpoint.init:
        return spec, {}
    # What a builder imports is named by whoever pushes, and never by the file.
    kept_out = {*spec.init, BUILDERS.get(spec.target)}
    offered = {name: value for name, value in spec.accepted(checkpoint.init).items() if name not in kept_out}
    if question.init_from_file:
        return replace(spec, init={**offered, **spec.init}), {}
    return spec, offered


def _ask_class(spec: ModelSpec | None) -> tuple[Probe | None, Expectation | None]:
    """Build the class, if one is known, and return what it wants."""
    if spec is None:
        return None, None
    from registry.models.build import probe
    from registry.models.expectation import expect

    probed = probe(spec)
    return probed, expect(probed.module)


@contextmanager
def _offering(offered: Mapping[str, Any]) -> Iterator[None]:
    """Name what the file offers where the class, without it, cannot be built or wants other tensors."""
    try:
        yield
    except (InitRefused, ConstructorFailed, ClassMismatch, ShapesDiffer) as error:
        if not offered:
            raise
        raise InitInFile(str(error), as_options(offered)) from error


def _said(checkpoint: Checkpoint, question: Question, spec: ModelSpec, offered: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is to be said of the constructor arguments in a file."""
    if offered:
        return (f"constructor arguments in the file, not used: {as_options(offered)}; --init-from-file takes them",)
    taken = [name for name in spec.init if name not in (question.init or {})]
    return (f"constructor arguments taken from the file: {', '.join(sorted(taken))}",) if taken else ()


def _construction(module: nn.Module) -> tuple[str | None, dict[str, Any], tuple[str, ...]]:
    """Return a live model's class, the init arguments that were remembered on it, and why the class is not known."""
    from registry.checkpoints.live import model_class, unwrapped
    from registry.construction import remembered
    from registry.models.target import target_of

    cls = model_class(module)
    target, why = target_of(cls)
    notes = (f"the class {cls.__name__} is not recorded: {why}; a load needs model=",) if target is None else ()
    return target, remembered(unwrapped(module)) or {}, notes


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
