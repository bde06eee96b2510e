"""Whether an entry fits a module, decided over names, shapes and dtypes before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from registry.canonical.expectation import Expectation, knows_counter
from registry.errors.models import DtypeMismatch, FitError, MissingTensors, ShapeMismatch, UnexpectedTensors
from registry.modules.fitting.report import LoadReport
from registry.tensors.spec import TensorSpec
from registry.tensors.ties import separate

_REAL_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Allowances:
    """What the user said may differ."""

    missing: Sequence[str] = ()
    """Patterns in the manner of ``fnmatch`` for names that may keep their initial value."""
    unexpected: Sequence[str] = ()
    """Patterns for names of the entry that may be left out."""
    shape: Sequence[str] = ()
    """Patterns for names that keep the module's own values where the entry has another shape."""
    cast: str | None = None
    """Dtype that all real floating-point tensors are to have, as torch names it."""


@dataclass(frozen=True)
class Content:
    """What an entry holds, without its values."""

    tensors: Mapping[str, TensorSpec]
    values: frozenset[str] = frozenset()
    ties: Sequence[Sequence[str]] = ()
    metadata: Mapping[str, Mapping[str, Any]] | None = None
    """The state dict's ``_metadata``: module path to ``{"version": ...}``."""


@dataclass(frozen=True)
class Plan:
    """Which tensor of the entry goes where."""

    sources: Mapping[str, str]
    """Every name of the module's tensors that is set to the name in the entry whose tensor it gets."""
    extra_states: tuple[str, ...]
    """Names of the module's extra states that are set."""
    report: LoadReport = field(default_factory=LoadReport)
    as_it_is: bool = False
    """Whether the class is handed the names of the entry as they are, and reads them in its own way."""
    made: Mapping[str, str] = field(default_factory=dict)
    """Digests of what the class then sets by itself, by the name of the module's tensor."""

    @property
    def keeps_initial_values(self) -> bool:
        """Whether a tensor of the module is left with the value that its constructor gave it."""
        return bool(self.report.missing or self.report.reshaped)


def make_plan(model: str, wanted: Expectation, content: Content, allowed: Allowances) -> Plan:
    """Return what goes where, with a report that says what is not plain.

    Shapes have to be equal, nothing is broadcast; dtypes have to be equal, unless a cast is allowed between real
    floating-point ones.

    Raises:
        FitError: names are missing or unexpected, or a shape or dtype differs; its report says what was found.
    """
    present = content.values.union(content.tensors)
    sources, missing = _sources(wanted, content, present)
    counters = {name for name in missing if name in wanted.defaults and not knows_counter(name, content.metadata)}
    defaulted, absent = [n for n in missing if n in counters], [n for n in missing if n not in counters]
    kept, lacking = _told_apart(absent, allowed.missing)
    known = wanted.names
    extra = [name for name in [*content.tensors, *sorted(content.values)] if name not in known]
    left_out, unknown = _told_apart(extra, allowed.unexpected)
    reshaped = _reshaped(sources, wanted, content, allowed.shape)
    sources = {name: source for name, source in sources.items() if name not in reshaped}
    tensors = {name: source for name, source in sources.items() if name in wanted.tensors or source in content.tensors}
    extra_states = tuple(name for name in sources if name in wanted.values)
    report = LoadReport(
        model=model,
        loaded=len(sources),
        defaulted=tuple(defaulted),
        missing=tuple(kept),
        unexpected=tuple(left_out),
        reshaped=reshaped,
        cast=_casts(sources, wanted, content, allowed.cast),
        tied=wanted.ties,
        untied=separate(([n for n in tie if n in wanted.tensors] for tie in content.ties), wanted.ties),
    )
    if lacking:
        raise reported(MissingTensors(model, lacking), report)
    if unknown:
        raise reported(UnexpectedTensors(model, unknown), report)
    _check_specs(model, sources, wanted, content, allowed.cast, report)
    return Plan({n: s for n, s in tensors.items() if n not in wanted.values}, extra_states, report)


def reported(error: FitError, report: LoadReport) -> FitError:
    """Return the error with what was found until it was raised."""
    error.report = report
    return error


def is_real_float(dtype: str) -> bool:
    """Whether a dtype may be cast to and from others of its kind; complex never becomes real."""
    return dtype in _REAL_FLOATS or dtype.startswith("float8_")


def castable(one: str, other: str) -> bool:
    """Whether a tensor of one dtype may be cast to the other."""
    return is_real_float(one) and is_real_float(other)


def _sources(wanted: Expectation, content: Content, present: frozenset[str]) -> tuple[dict[str, str], list[str]]:
    """Return name to name in the entry, and the names that have none, in the order of the module."""
    tied = {name: group for group in wanted.ties for name in group}
    sources: dict[str, str] = {}
    missing = []
    for name in [*wanted.tensors, *sorted(wanted.values)]:
        if name in present:
            sources[name] = name
        elif twin := next((twin for twin in tied.get(name, ()) if twin in content.tensors), None):
            sources[name] = twin
        else:
            missing.append(name)
    return sources, missing


def _told_apart(names: Iterable[str], patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names that one of the patterns is of, and the others."""
    apart: tuple[list[str], list[str]] = [], []
    for name in names:
        apart[not matches(name, patterns)].append(name)
    return apart


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns, in the manner of ``fnmatch``, is of this name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def unmatched(allowed: Allowances, names: Iterable[str]) -> list[str]:
    """Word which patterns are of no name, and so are mistyped, and what was probably meant.

    Args:
        names: all of the module and of the entry.
    """
    known = list(names)
    words = []
    for argument, patterns in (
        ("allow_missing", allowed.missing),
        ("allow_unexpected", allowed.unexpected),
        ("allow_shape", allowed.shape),
    ):
        for pattern in dict.fromkeys(patterns):
            if not any(fnmatchcase(name, pattern) for name in known):
                wider = f"{pattern.rstrip('.')}.*"
                meant = any(fnmatchcase(name, wider) for name in known)
                words.append(
                    f"{argument} '{pattern}' matches no tensor of either side"
                    + (f"; for all below it, write '{wider}'" if meant else "")
                )
    return words


def _reshaped(
    sources: Mapping[str, str], wanted: Expectation, content: Content, allowed: Sequence[str]
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the tensors that may have another shape and do; one of several names is enough to allow it."""
    if not allowed:
        return {}
    tied = {name: group for group in wanted.ties for name in group}
    return {
        name: (content.tensors[source].shape, wanted.tensors[name].shape)
        for name, source in sources.items()
        if name in wanted.tensors and source in content.tensors
        if content.tensors[source].shape != wanted.tensors[name].shape
        if any(matches(other, allowed) for other in tied.get(name, (name,)))
    }


def _casts(
    sources: Mapping[str, str], wanted: Expectation, content: Content, cast: str | None
) -> dict[str, tuple[str, str]]:
    if cast is None:
        return {}
    found = {
        name: content.tensors[source].dtype
        for name, source in sources.items()
        if name in wanted.tensors and source in content.tensors
    }
    return {name: (dtype, cast) for name, dtype in found.items() if is_real_float(dtype) and dtype != cast}


def _check_specs(
    model: str,
    sources: Mapping[str, str],
    wanted: Expectation,
    content: Content,
    cast: str | None,
    report: LoadReport,
) -> None:
    pairs = [
        (name, content.tensors.get(source), wanted.tensors[name])
        for name, source in sources.items()
        if name in wanted.tensors
    ]
    if values := [name for name, got, _ in pairs if got is None]:
        raise reported(MissingTensors(model, values), report)
    shapes = [(name, got.shape, want.shape) for name, got, want in pairs if got and got.shape != want.shape]
    if shapes:
        raise reported(ShapeMismatch(model, shapes), report)
    dtypes = [
        (name, got.dtype, want.dtype)
        for name, got, want in pairs
        if got and got.dtype != want.dtype and not (cast and castable(got.dtype, want.dtype))
    ]
    if dtypes:
        raise reported(DtypeMismatch(model, dtypes, all(castable(got, want) for _, got, want in dtypes)), report)
