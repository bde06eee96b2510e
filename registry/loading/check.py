"""Whether something holds the weights that it should: two sets of named tensors, compared bit by bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from registry.blobs.verification import WORKERS
from registry.canonical.expectation import Expectation
from registry.errors.checkpoints import UnencodableValue
from registry.errors.confirmation import NothingToCheck, WeightsDiffer
from registry.loading.bits import ComparedTensor, is_zero, same
from registry.notebook import called, few, html_table
from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.encoding import encode, plain
from registry.tensors.inlined import source_of
from registry.tensors.source import TensorSource
from registry.tensors.ties import separate, tied
from registry.tensors.wrapper_value import Owner

if TYPE_CHECKING:
    import torch

_LARGE = 1 << 18
"""Bytes of a tensor from which on it pays to hand it to another thread."""

Verdict = Literal["equal", "cast", "differs"]
_WORST: tuple[Verdict, ...] = ("differs", "cast", "equal")


@dataclass(frozen=True)
class CheckReport:
    """What sits in a module now, or in A, held against what was stored, or B: every tensor by its canonical name."""

    holder: str = ""
    """What was looked into: the class of a live module, else a reference or a path."""
    against: str = ""
    """What it was compared with: a reference or a path."""
    equal: tuple[str, ...] = ()
    """Names with the same dtype, shape and bits on both sides; extra states with the same value."""
    cast: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name to (stored dtype, dtype in the module): the stored tensor cast to the module's dtype, bit for bit."""
    differs: tuple[str, ...] = ()
    """Names on both sides with other bits, another shape, or a dtype that no cast explains."""
    missing: tuple[str, ...] = ()
    """Names of the module that what was stored does not have."""
    unexpected: tuple[str, ...] = ()
    """Names of what was stored that the module does not have."""
    retied: tuple[tuple[str, ...], ...] = ()
    """Groups of names that are one tensor in what was stored and several in the module: trained, they come apart."""
    types: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Dtype and shape, stored and in the module, of every tensor that differs."""
    wrappers_equal: tuple[str, ...] = ()
    """What a wrapper owns beside the weights (``n_averaged``), with the same value in the same wrapper of both."""
    wrappers_differ: tuple[str, ...] = ()
    """What the same wrapper of both owns, with another value."""
    wrappers_unmatched: tuple[str, ...] = ()
    """What a wrapper of one side owns that the other side does not have; the weights may be equal all the same."""

    @property
    def is_equal(self) -> bool:
        """Whether the module holds what was stored, all of it and nothing else.

        A cast to its own dtype is no harm, nor is what belongs to a wrapper that only one side has.
        """
        return not (self.differs or self.missing or self.unexpected or self.retied or self.wrappers_differ)

    def require(self) -> None:
        """Raise unless it is equal.

        Raises:
            WeightsDiffer: saying which tensors, and how many.
        """
        if not self.is_equal:
            raise WeightsDiffer(
                self.holder,
                self.against,
                self.faults(),
                "look for what initializes, replaces or trains weights after they were loaded, or load them again",
            )

    def require_loaded(self) -> None:
        """Raise if a tensor that a load put there has other values now.

        What a load may leave as it is, and what is done to a model on purpose, does not count: names that one side
        lacks, other shapes, tensors that were quantized or sharded beyond recognition, ties, extra states.

        Raises:
            WeightsDiffer: saying which tensors, and how many.
        """
        if changed := tuple(name for name in self.differs if self._is_of_its_shape(name)):
            raise WeightsDiffer(
                self.holder,
                self.against,
                [(_counted(changed, "tensor", "changed since the load"), changed)],
                "look for what initializes weights anew after registry.load, or say check_weights=False if it is meant",
            )

    def faults(self) -> list[tuple[str, Sequence[str]]]:
        """Return what keeps it from being equal: clauses with the names that they are about."""
        ties = [" = ".join(group) for group in self.retied]
        kinds = (
            (self.differs, "tensor", "differ{s}"),
            (self.missing, "tensor", f"{{is}} not in {self.against}"),
            (self.unexpected, "tensor", f"of {self.against} {{is}} not in {self.holder}"),
            (ties, "tie", f"of {self.against} {{is}} not made in {self.holder}"),
            (self.wrappers_differ, "value", "of a wrapper differ{s}"),
        )
        return [(_counted(names, noun, clause), names) for names, noun, clause in kinds if names]

    def __repr__(self) -> str:
        return called(self, str(self))

    def _repr_html_(self) -> str:
        rows = [(clause, few(names, 20)) for clause, names in self.faults()]
        return html_table(str(self), ("", "names"), rows)

    def __str__(self) -> str:
        cast = f", {len(self.cast)} cast to the module's dtype" if self.cast else ""
        if self.is_equal:
            return f"{self.holder} holds the weights of {self.against}: {len(self.equal)} equal{cast}"
        faults = "; ".join(clause for clause, _ in self.faults())
        return f"{self.holder} does not hold the weights of {self.against}: {faults}; {len(self.equal)} equal{cast}"

    def _is_of_its_shape(self, name: str) -> bool:
        """Whether a tensor that differs has the stored shape, and plain values."""
        stored, here = (text.partition("[") for text in self.types.get(name, ("[]", "")))
        return here[0] in ITEM_SIZES and here[2] == stored[2]


@dataclass(frozen=True)
class Side:
    """One of the two things that are compared, under canonical names."""

    title: str
    tensors: Mapping[str, ComparedTensor]
    values: Mapping[str, Any] = field(default_factory=dict)
    """Extra states, encoded (``registry.tensors.encoding``)."""
    ties: Sequence[Sequence[str]] = ()
    wrappers: Mapping[Owner, Any] = field(default_factory=dict)
    """What wrappers own, encoded likewise."""
    defaults: Collection[str] = ()
    """Counters of batch normalization, which old files lack, and which a load then sets to 0."""
    predates: Callable[[str], bool] = lambda name: False
    """Whether a counter that it lacks is none that was lost: it was saved before there were any."""
    open: Callable[[Collection[str]], Callable[[str], torch.Tensor]] | None = None
    """Gives tensors by name, after their bytes were checked; where a comparison of digests will not do."""

    @property
    def names(self) -> list[str]:
        return [*self.tensors, *self.values]

    @property
    def expectation(self) -> Expectation:
        """What judges the names of the other side."""
        specs = {name: held.spec for name, held in self.tensors.items()}
        return Expectation(specs, frozenset(self.values), tuple(map(tuple, self.ties)), frozenset(self.defaults))


@dataclass(frozen=True)
class CloserLook:
    """How to compare a tensor of a module where bits alone do not decide: a part, a cast, one without values."""

    is_needed: Callable[[ComparedTensor, ComparedTensor], bool]
    verdict: Callable[[ComparedTensor, ComparedTensor, torch.Tensor], Verdict]
    """Given what is here, what was stored, and the stored values."""


def compare(
    here: Side, stored: Side, names: Sequence[str] | None = None, closer: CloserLook | None = None
) -> CheckReport:
    """Compare two sides, several tensors at a time; each is read once, and none is copied where its bytes can be seen.

    Args:
        names: patterns (``fnmatch``) of the names to compare; all by default.
        closer: for a module; two stored things are compared by their bits.

    Raises:
        NothingToCheck: a pattern matches no name.
        RegistryError: of a side, whose bytes could not be read or are not those that were stored.
    """
    owned = {owner: str(owner) for owner in (*here.wrappers, *stored.wrappers)}
    wanted = _selected(dict.fromkeys([*here.names, *stored.names, *owned.values()]), names)
    owners = [owner for owner, name in owned.items() if name in wanted]
    both = [owner for owner in owners if owner in here.wrappers and owner in stored.wrappers]
    alike = {owner for owner in both if _canonical(here.wrappers[owner]) == _canonical(stored.wrappers[owner])}
    twins = {name: group for group in here.ties for name in group}
    sources = {name: _source(name, stored, twins) for name in here.names if name in wanted}
    pairs = [
        _Pair(name, source, here.tensors[name], stored.tensors[source])
        for name, source in sources.items()
        if source is not None and name in here.tensors and source in stored.tensors
    ]
    verdicts = _verdicts(pairs, stored, closer)
    missing = []
    for name, source in sources.items():
        if name in verdicts:
            continue
        if source is None:
            if _is_default(name, here, stored):
                verdicts[name] = "equal"
            else:
                missing.append(name)
        else:
            verdicts[name] = "equal" if _same_value(here, name, stored, source) else "differs"
    known = set(here.names)
    beyond = [name for name in stored.names if name in wanted and name not in known]
    defaulted = {name for name in beyond if _is_default(name, stored, here)}
    types = {p.name: (str(p.stored.spec), str(p.here.spec)) for p in pairs if verdicts[p.name] != "equal"}
    return CheckReport(
        holder=here.title,
        against=stored.title,
        equal=(*(n for n in sources if verdicts.get(n) == "equal"), *(n for n in beyond if n in defaulted)),
        cast={n: _dtypes(types[n]) for n in sources if verdicts.get(n) == "cast"},
        differs=tuple(n for n in sources if verdicts.get(n) == "differs"),
        missing=tuple(missing),
        unexpected=tuple(n for n in beyond if n not in defaulted),
        retied=_retied(here, stored, wanted),
        types={n: pair for n, pair in types.items() if verdicts[n] == "differs"},
        wrappers_equal=tuple(owned[owner] for owner in both if owner in alike),
        wrappers_differ=tuple(owned[owner] for owner in both if owner not in alike),
        wrappers_unmatched=tuple(owned[owner] for owner in owners if owner not in both),
    )


def merged(reports: Sequence[CheckReport]) -> CheckReport:
    """Return one report of the parts that ranks hold: a tensor is equal where all of its parts are."""
    first = reports[0]
    verdicts: dict[str, Verdict] = {}
    for report in reports:
        by_verdict: dict[Verdict, Collection[str]] = {
            "equal": report.equal,
            "cast": report.cast,
            "differs": report.differs,
        }
        for verdict, names in by_verdict.items():
            for name in names:
                if name not in verdicts or _WORST.index(verdict) < _WORST.index(verdicts[name]):
                    verdicts[name] = verdict
    casts = {name: pair for report in reports for name, pair in report.cast.items()}
    return CheckReport(
        holder=first.holder,
        against=first.against,
        equal=tuple(name for name, verdict in verdicts.items() if verdict == "equal"),
        cast={name: casts[name] for name, verdict in verdicts.items() if verdict == "cast"},
        differs=tuple(name for name, verdict in verdicts.items() if verdict == "differs"),
        missing=first.missing,
        unexpected=first.unexpected,
        retied=tuple(dict.fromkeys(group for report in reports for group in report.retied)),
        types={n: pair for report in reports for n, pair in report.types.items() if verdicts[n] == "differs"},
        wrappers_equal=tuple(n for n in first.wrappers_equal if not any(n in r.wrappers_differ for r in reports)),
        wrappers_differ=tuple(dict.fromkeys(n for report in reports for n in report.wrappers_differ)),
        wrappers_unmatched=first.wrappers_unmatched,
    )


def identical(tensors: Mapping[str, TensorSource]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of names that are one piece of memory; empty tensors have none."""
    return tied({name: source.identity for name, source in tensors.items() if source.spec.numel})


def encoded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return extra states as they are stored.

    Raises:
        UnencodableValue: one is no plain data.
    """
    return {name: encode(value, name) for name, value in values.items()}


def encoded_owners(values: Mapping[Owner, Any]) -> dict[Owner, Any]:
    """Return what wrappers own as it is stored; what could not be stored is another value than all that was."""
    found: dict[Owner, Any] = {}
    for owner, value in values.items():
        try:
            found[owner] = encode(value, str(owner))
        except UnencodableValue as error:
            found[owner] = [error.reason]
    return found


class _Pair(NamedTuple):
    """A tensor here, and what was stored for it: under the same name, or that of a tied one."""

    name: str
    source: str
    here: ComparedTensor
    stored: ComparedTensor


def _verdicts(pairs: Sequence[_Pair], stored: Side, closer: CloserLook | None) -> dict[str, Verdict]:
    apart = [pair.source for pair in pairs if closer and closer.is_needed(pair.here, pair.stored)]
    values = stored.open(apart) if stored.open and apart else None

    def judge(pair: _Pair) -> Verdict:
        if closer is not None and values is not None and closer.is_needed(pair.here, pair.stored):
            return closer.verdict(pair.here, pair.stored, values(pair.source))
        return "equal" if same(pair.here, pair.stored) else "differs"

    large = [pair for pair in pairs if pair.stored.spec.nbytes >= _LARGE]
    with ThreadPoolExecutor(WORKERS) as workers:
        begun = [workers.submit(judge, pair) for pair in large]
        verdicts = {pair.name: judge(pair) for pair in pairs if pair.stored.spec.nbytes < _LARGE}
        return verdicts | {pair.name: verdict.result() for pair, verdict in zip(large, begun, strict=True)}


def _selected(names: Collection[str], patterns: Sequence[str] | None) -> set[str]:
    if patterns is None:
        return set(names)
    found: set[str] = set()
    if not patterns:
        raise NothingToCheck("", tuple(names))
    for pattern in patterns:
        matching = {name for name in names if fnmatchcase(name, pattern)}
        if not matching:
            raise NothingToCheck(pattern, tuple(names))
        found |= matching
    return found


def _source(name: str, stored: Side, twins: Mapping[str, Sequence[str]]) -> str | None:
    """Return the name under which a tensor was stored; of a tie, one name is enough."""
    if name in stored.tensors or name in stored.values:
        return name
    return next((twin for twin in twins.get(name, ()) if twin in stored.tensors), None)


def _same_value(here: Side, name: str, stored: Side, source: str) -> bool:
    """Whether two extra states are equal, as plain values; a tensor on one side alone is another value."""
    one, other = _as_tensor(here, name), _as_tensor(stored, source)
    if one is not None or other is not None:
        return one is not None and other is not None and same(one, other)
    return _canonical(plain(here.values[name])) == _canonical(plain(stored.values[source]))


def _as_tensor(side: Side, name: str) -> ComparedTensor | None:
    """Return an extra state that is a tensor, whether it stands among the tensors or, with its kind, the values."""
    return side.tensors[name] if name in side.tensors else source_of(side.values[name])


def _is_default(name: str, holder: Side, lacking: Side) -> bool:
    """Whether a name that one side lacks is a counter at 0, where a load of that side would put it."""
    return name in holder.defaults and lacking.predates(name) and is_zero(holder.tensors[name])


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _retied(here: Side, stored: Side, wanted: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    asked = set(wanted)
    groups = (
        [n for n in group if n in here.tensors and n in asked and stored.tensors[n].spec.numel] for group in stored.ties
    )
    return separate(groups, here.ties)


def _dtypes(types: tuple[str, str]) -> tuple[str, str]:
    return types[0].partition("[")[0], types[1].partition("[")[0]


def _counted(names: Sequence[object], noun: str, clause: str) -> str:
    one = len(names) == 1
    words = clause.replace("{s}", "s" if one else "").replace("{is}", "is" if one else "are")
    return f"{len(names)} {noun}{'' if one else 's'} {words}"
