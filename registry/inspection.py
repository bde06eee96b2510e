"""What a push would store: the weights chosen, the class asked, the names decided. Nothing is written here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from registry.canonical.form import Clues, Form, canonicalize
from registry.canonical.wrappers import parse_declaration
from registry.checkpoints.choosing import ROOT, sets_called
from registry.checkpoints.inventory import identities, left_out, said, tensors_of
from registry.checkpoints.opening import open_checkpoint
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.canonical import ClassMismatch, ContradictedTie, ShapesDiffer
from registry.errors.checkpoints import ArraysOfNumpy
from registry.errors.intake import InitInFile, NoInitInFile, SeveralWeightSets, UnknownWeightSet
from registry.errors.models import ConstructorFailed, InitRefused
from registry.modules.building.alteration import alterations, is_broken
from registry.modules.building.offer import as_options
from registry.modules.building.recipe import Recipe, of_file, of_live, read_init, read_model
from registry.tensors.source import TensorSource
from registry.tensors.ties import tied

MOST_AROUND = 20
"""Sets with others inside of them that a refusal describes."""

if TYPE_CHECKING:
    from torch import nn

    from registry.canonical.expectation import Expectation
    from registry.modules.building.build import Built
    from registry.modules.building.specification import ModelSpec


@dataclass(frozen=True)
class Question:
    """What the user said about a checkpoint, in the words of ``push`` and ``inspect``."""

    from_: str | None = None
    model: str | None = None
    init: Mapping[str, Any] | None = None
    init_as: str | None = None
    weights: str | None = None
    init_from_file: bool = False

    @classmethod
    def of(
        cls,
        from_: str | None,
        model: object,
        init: object,
        init_as: str | None,
        weights: str | None,
        init_from_file: bool = False,
    ) -> Question:
        """Read what a verb was called with.

        Raises:
            UnusableModel, UnusableInit, UnknownInitStyle: an argument is of another kind than it takes.
        """
        return cls(from_, read_model(model), *read_init(init, init_as), weights, init_from_file)


@dataclass(frozen=True)
class Inspection:
    """A dry run of a push: what is in the checkpoint and what its names become."""

    checkpoint: Checkpoint
    weights: WeightSet
    form: Form
    spec: ModelSpec | None
    probe: Built | None
    """What was made of the class, to ask it for its names; its parameters may have no values."""
    expectation: Expectation | None
    notes: tuple[str, ...]
    recipe: Recipe = field(default_factory=Recipe)
    """How the model is made, as it is stored."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What bears tensors and is not stored: the number of tensors by the way to the part."""

    def accounted(self, kept: Iterable[Any] = ()) -> Inspection:
        """Return it with everything named that is not stored.

        Args:
            kept: the tensors of the training state that is.
        """
        checkpoint, weights = self.checkpoint, self.weights
        stored = identities([*weights.tensors.values(), *(t for _, t in tensors_of(dict(weights.values))), *kept])
        values: dict[tuple[str, ...], Any] = {(): checkpoint.contents}
        values.update({(f"/{path}",): value for path, value in checkpoint.beside.items()})
        parts = left_out(values, stored)
        return replace(self, left_out=parts, notes=(*self.notes, *filter(None, [said(parts)])))

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
        groups = [set(names) for names in tied({name: source.identity for name, source in self.tensors.items()})]
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
    module = None if isinstance(source, (str, os.PathLike, Mapping)) else source
    recipe = _recipe(checkpoint, module, question)
    spec = recipe.spec
    with _offering(recipe.offered):
        probe, expectation = _ask_class(spec)
        form = canonicalize(
            checkpoint.source,
            {name: tensor.spec for name, tensor in weights.tensors.items()},
            weights.values.keys(),
            Clues(
                declared=declared,
                live=checkpoint.live_wrappers,
                is_live=module is not None,
                metadata=weights.metadata,
                dropped=weights.aliases,
                expectation=expectation,
                target=spec.target if spec else "the class",
                key=weights.key,
            ),
        )
    notes = (*checkpoint.notes, *recipe.notes)
    inspection = Inspection(checkpoint, weights, form, spec, probe, expectation, notes, recipe)
    _check_ties(inspection)
    return replace(inspection, notes=(*notes, *alterations(recipe, inspection.tensors)))


def _open(source: str | os.PathLike[str] | nn.Module | Mapping[str, Any]) -> Checkpoint:
    if isinstance(source, (str, os.PathLike)):
        return open_checkpoint(source)
    from registry.modules.live import open_live

    return open_live(source)


def choose(checkpoint: Checkpoint, key: str | None) -> WeightSet:
    """Return the one set of weights, or the one that the user named.

    Raises:
        SeveralWeightSets, UnknownWeightSet: with those that there are.
        UnstorableTensor, ShardedTensors, ForeignObjects: it cannot be stored.
    """
    sets = checkpoint.weight_sets
    if key is not None:
        chosen = sets_called(checkpoint, key)
        if len(chosen) != 1:
            raise UnknownWeightSet(checkpoint.source, key, _counts(chosen or sets), several=bool(chosen))
    elif len(sets) > 1:
        arrays = [found.key or ROOT for found in sets if isinstance(found.fault, ArraysOfNumpy) and not found.tensors]
        raise SeveralWeightSets(checkpoint.source, _counts(sets), _loose(checkpoint), arrays)
    else:
        chosen = list(sets)
    if chosen[0].fault is not None:
        raise chosen[0].fault
    return chosen[0].with_whole_extra_states()


def _counts(sets: Sequence[WeightSet]) -> dict[str, int]:
    return {s.key or ROOT: s.count for s in sets}


def _loose(checkpoint: Checkpoint) -> dict[str, list[str]]:
    """Return, by set, the names that stand in it around other sets."""
    keys = [found.key for found in checkpoint.weight_sets]
    around: dict[str, list[str]] = {}
    for found in checkpoint.weight_sets[-MOST_AROUND:]:  # those that contain others come last
        prefix = f"{found.key}/" if found.key else ""
        inside = [key[len(prefix) :].replace("/", ".") for key in keys if key != found.key and key.startswith(prefix)]
        if inside:
            own = [name for name in found.tensors if not name.startswith(tuple(f"{key}." for key in inside))]
            around[found.key or ROOT] = own
    return around


def _recipe(checkpoint: Checkpoint, module: nn.Module | None, question: Question) -> Recipe:
    said = question.model, question.init, question.init_as
    if module is None:
        return of_file(checkpoint, *said, init_from_file=question.init_from_file)
    if question.init_from_file:
        raise NoInitInFile(checkpoint.source, "is not a file")
    return of_live(module, *said)


@contextmanager
def _offering(offered: Mapping[str, Any]) -> Iterator[None]:
    """Name what the file offers where the class, without it, cannot be built or wants other tensors."""
    try:
        yield
    except (InitRefused, ConstructorFailed, ClassMismatch, ShapesDiffer) as error:
        if not offered:
            raise
        raise InitInFile(str(error), as_options(offered)) from error


def _ask_class(spec: ModelSpec | None) -> tuple[Built | None, Expectation | None]:
    """Build the class, if one is known, and return what it wants."""
    if spec is None:
        return None, None
    from registry.modules.building.build import build
    from registry.modules.fitting.expectation import expect

    built = build(spec)
    return built, expect(built.module)


def _check_ties(inspection: Inspection) -> None:
    """Refuse a file in which names that the class ties hold different values."""
    for tie in inspection.expectation.ties if inspection.expectation else ():
        if is_broken(tie, inspection.tensors):
            target = inspection.spec.target if inspection.spec else "the class"
            raise ContradictedTie(inspection.checkpoint.source, target, tie)
