"""Which builder makes a pushed model, and the proof that it does: the model is built once and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from torch import nn

from registry.canonical.expectation import Expectation
from registry.canonical.match import unmet
from registry.checkpoints.weights import WeightSet
from registry.errors.libraries import BuilderMismatch, LibraryRefused
from registry.errors.models import first_line
from registry.modules.builders.likeness import differences
from registry.modules.builders.specification import LibrarySpec
from registry.modules.builders.table import library, offline
from registry.modules.building.build import build
from registry.modules.fitting.expectation import expect
from registry.modules.layout import bare, layout
from registry.modules.live import LiveTensor
from registry.tensors.memory import tensor_of
from registry.tensors.source import TensorSource


def described(
    builder: str, module: nn.Module, source: str, tensors: Mapping[str, TensorSource], ties: Sequence[Sequence[str]]
) -> LibrarySpec:
    """Return how a library makes a live model, after it has made it once.

    Raises:
        BuilderMismatch: what it makes has other names, shapes, settings, or tensors that are not saved.
        LibraryMissing, LibraryRefused, ModelError: it makes nothing.
    """
    texts = library(builder, source).describe(module)
    dtypes = {name: tensor.spec.dtype for name, tensor in tensors.items()}
    spec = LibrarySpec(builder, texts, dtypes, source)
    built = build(spec).module
    if found := list(islice(_unlike(bare(module), built, tensors, ties), 3)):
        raise BuilderMismatch(builder, source, "; ".join(found).replace(";", ","))
    return spec


def names_in_files(builder: str, module: nn.Module) -> dict[str, str]:
    """Return what a library calls tensors in its files, by canonical name, where that is something else."""
    with offline():
        names = library(builder, "the model").names_in_files(module)
    return {name: own for name, own in names.items() if name != own}


def in_memory(
    weights: WeightSet, spec: LibrarySpec, module: nn.Module, source: str
) -> tuple[WeightSet, dict[str, str]]:
    """Return the weights of a file as the library's model holds them, and what it calls them in files.

    A library may write tensors under other names than its model has, or split and joined. What is only renamed stays
    in the file; what is not has to be converted by the library, in memory.

    Raises:
        BuilderMismatch: the library does not take these weights for the model.
    """
    own = names_in_files(spec.builder, module)
    have = layout(module).slots.keys()
    if weights.tensors.keys() <= have:
        return weights, own
    back = {**{name: name for name in have}, **{in_file: name for name, in_file in own.items()}}
    if weights.tensors.keys() <= back.keys():
        return replace(weights, tensors={back[name]: tensor for name, tensor in weights.tensors.items()}), own
    try:
        with offline():
            tensors = {name: tensor_of(tensor) for name, tensor in weights.tensors.items()}
            state = library(spec.builder, source).converted(spec.values, tensors)
    except LibraryRefused as error:
        raise BuilderMismatch(spec.builder, source, str(error).rpartition(": ")[2].partition(";")[0]) from error
    except Exception as error:  # the library's own words, of which any may come
        raise BuilderMismatch(
            spec.builder, source, f"it raised {type(error).__name__} ({first_line(error)})"
        ) from error
    if state is None:
        return weights, own
    held = {name: LiveTensor(source, name, tensor) for name, tensor in state.items()}
    return replace(weights, tensors=held, aliases={}), own


def fits(spec: LibrarySpec, tensors: Mapping[str, TensorSource]) -> bool:
    """Whether what a library makes has tensors of just these names, shapes and dtypes."""
    return next(_unequal(tensors, expect(build(spec).module)), None) is None


def _unlike(
    module: nn.Module, built: nn.Module, tensors: Mapping[str, TensorSource], ties: Sequence[Sequence[str]]
) -> Iterator[str]:
    wanted = expect(built)
    yield from _unequal(tensors, wanted)
    held = {frozenset(tie) for tie in ties}
    for tie in wanted.ties:
        if not any(set(tie) <= group for group in held):
            yield f"{' and '.join(tie[:2])} would be one tensor"
    for group in held:
        if not any(group <= set(tie) for tie in wanted.ties):
            yield f"{' and '.join(sorted(group)[:2])} are one tensor and would not be"
    yield from differences(module, built)


def _unequal(tensors: Mapping[str, TensorSource], wanted: Expectation) -> Iterator[str]:
    missing, extra = unmet(tensors, wanted)
    for name in missing:
        yield f"it would have '{name}', too"
    for name in extra:
        yield f"it would not have '{name}'"
    for name, tensor in tensors.items():
        if name in wanted.tensors and wanted.tensors[name] != tensor.spec:
            yield f"'{name}' is {tensor.spec} and would be {wanted.tensors[name]}"
