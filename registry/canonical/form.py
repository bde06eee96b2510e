"""The canonical form of a set of names: who decides, and what follows from it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry.canonical.assume import RESERVED, assume
from registry.canonical.dropped import is_tie
from registry.canonical.expectation import Expectation, knows_counter
from registry.canonical.match import match, unmet
from registry.canonical.owned import Met, owners_beside, owners_met
from registry.canonical.tree import Node, grow
from registry.canonical.unwrap import PREFIX, Cut, Unwrapping
from registry.canonical.wrappers import FLAT_PARAMETERS, OR, format_stack
from registry.errors.canonical import (
    ClassMismatch,
    CollidingNames,
    NoTensors,
    ShapesDiffer,
    ShardedNames,
    UnwritableName,
    WrongDeclaration,
)
from registry.tensors.paths import is_unicode
from registry.tensors.safetensors import METADATA
from registry.tensors.spec import Signature
from registry.tensors.wrapper_value import Owner

EXTRA_STATE = "_extra_state"
"""What ``torch.nn.Module`` calls the entry of ``get_extra_state``; it is wrapped as tensors are."""


def is_extra_state(name: str) -> bool:
    """Return whether a name is one under which torch keeps a module's extra state, which may be any value."""
    return name.rpartition(".")[2] == EXTRA_STATE


@dataclass(frozen=True)
class Clues:
    """What is known of the names beside themselves."""

    declared: tuple[str, ...] | None = None
    """The declared stack of wrappers, empty for ``single``, None where the user said nothing."""
    live: tuple[Met, ...] = ()
    """For a live model: the wrappers in it, outermost first."""
    is_live: bool = False
    """Whether the types of the objects are known, so that ``live`` is the whole truth."""
    metadata: Mapping[str, Mapping[str, Any]] | None = None
    """The state dict's ``_metadata``."""
    dropped: Mapping[str, str] = field(default_factory=dict)
    """Tied names that the writer may have left out, to the name that it kept."""
    expectation: Expectation | None = None
    """What the class wants, where it is known."""
    target: str = "the class"
    """How to name the class to the user."""
    key: str = ""
    """Where in the file the names stand."""
    averages: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Names of the averages in it, and of the model that these are of, by where they stand."""


@dataclass(frozen=True)
class Form:
    """The decision: names in the file to canonical names, and why."""

    tensors: Mapping[str, str]
    """Name in the file to canonical name, in the file's order."""
    values: Mapping[str, str]
    """The same for entries that are no tensors."""
    unwrapping: Unwrapping
    owned: Mapping[str, Owner]
    """Names in the file of what belongs to the wrappers, set aside."""
    restored: Mapping[str, str]
    """Canonical names that the file lacks because they are tied, to the canonical name that it has."""
    defaulted: tuple[str, ...]
    """Names of the class that old files do not have."""
    metadata: Mapping[str, Mapping[str, Any]] | None
    """``_metadata`` under canonical module paths."""
    wrapper: str
    saved_as: str
    foreign: tuple[str, ...] = ()
    """Names in the file of plain values that the class does not have."""


def canonicalize(source: str, tensors: Signature, values: Collection[str], facts: Clues) -> Form:
    """Decide the canonical names of a state dict.

    The strongest evidence there is decides: the class, then the types of live objects, then structure and declaration.

    Args:
        source: how to name the file to the user.
        tensors: the names in the file and what they are.
        values: the names of entries that are no tensors.
        facts: what else is known.

    Raises:
        NoTensors, UnwritableName, ShardedNames, MixedNames, CollidingNames, WrongDeclaration, ClassMismatch,
        ShapesDiffer.
    """
    if not tensors:
        raise NoTensors(source)
    for name in (*tensors, *values):
        if not is_unicode(name):
            raise UnwritableName(source, name)
    _refuse_shards(source, tensors, facts)
    structural = dict.fromkeys([*tensors, *(name for name in values if is_extra_state(name))])
    cuts, doubts = _decide(source, structural, facts)
    _check_declaration(source, cuts, facts)
    outside = _outside(cuts, values, structural)
    unwrapping = Unwrapping(cuts, doubts, outside=outside, single=facts.declared == ())
    owned = _owned(cuts, structural, facts)
    kept = [name for name in tensors if name not in owned]
    foreign = _foreign(values, structural, unwrapping, facts.expectation)
    kept_values = [name for name in values if name not in owned and name not in foreign]
    if not kept:
        raise NoTensors(source)
    names = _rename(source, kept, unwrapping)
    renamed_values = {name: unwrapping.bare(name) for name in kept_values}
    _rename(source, [*kept, *kept_values], unwrapping)
    restored = _restored(names, unwrapping, facts)
    unwrapping = replace(unwrapping, absent=tuple(restored), set_aside=tuple(owned))
    canonical = [*names.values(), *restored]
    if METADATA in canonical:
        raise UnwritableName(source, METADATA)
    metadata = canonical_metadata(facts.metadata, unwrapping)
    defaulted: tuple[str, ...] = ()
    if facts.expectation is not None:
        extra = [renamed_values[name] for name in kept_values if name in structural]
        defaulted = _judge(source, names, [*canonical, *extra], tensors, metadata, facts, facts.expectation)
    visible = any(cut.wrapper != PREFIX for cut in cuts)
    return Form(
        tensors=names,
        values=renamed_values,
        unwrapping=unwrapping,
        owned=owned,
        restored=restored,
        defaulted=defaulted,
        metadata=metadata,
        wrapper=format_stack(_stack(unwrapping, facts)),
        saved_as="wrapped" if visible else "bare",
        foreign=foreign,
    )


@dataclass(frozen=True)
class Correction:
    """How the names of a stored version become those of a class that contradicts them."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    """Stored name to the class's name; empty where there is nothing to put right."""
    owned: Mapping[str, Owner] = field(default_factory=dict)
    """Stored names that belong to a wrapper, now that the class has told what is one."""
    refused: str = ""
    """Component that the class's names lack, and that stays, since it was declared that nothing wrapped the model."""


def reconcile(names: Sequence[str], unwrapping: Unwrapping, expectation: Expectation) -> Correction | None:
    """Return how the names of a stored version become those of a class that contradicts them, or None.

    The names in the file, which the unwrapping gives back, are read again with this class as judge: that puts an
    assumed cut right which took an honest name, or a kept component which a wrapper had made. Against a declaration
    nothing is put right.
    """
    if not any(unmet(names, expectation)):
        return Correction()
    in_file = {unwrapping.wrapped(name): name for name in names}
    cuts = match(in_file, expectation)
    if cuts is None:
        return None
    if unwrapping.single and (cut := _against_single(cuts)) is not None:
        return Correction(refused=cut.path)
    again = Unwrapping(cuts)
    owned = owners_beside(cuts, in_file)
    return Correction(
        {name: again.bare(original) for original, name in in_file.items() if original not in owned},
        {in_file[original]: owner for original, owner in owned.items()},
    )


def _decide(source: str, names: Collection[str], facts: Clues) -> tuple[tuple[Cut, ...], tuple[str, ...]]:
    tree = grow(names)
    if facts.expectation is not None:
        cuts = match(names, facts.expectation, facts.declared or ())
        if cuts is not None:
            return cuts, ()
        if any(met.own for met in facts.live):  # names that no class can explain, and the objects do
            return _live_cuts(tree, facts.live), ()
        raise _nearest(source, names, tree, facts, facts.expectation)
    if facts.is_live:
        return _live_cuts(tree, facts.live), ()
    return assume(source, tree, facts.declared, facts.metadata or ())


def _live_cuts(tree: Node, live: Iterable[Met]) -> tuple[Cut, ...]:
    nodes = {node.dotted: node for node in tree.walk()}
    wrappers = {met.inserted: met.wrapper for met in live if met.inserted and met.inserted in nodes}
    paths = sorted(wrappers, key=lambda path: path.count("."))
    return tuple(Cut(path, wrappers[path], "live", nodes[path].names) for path in paths)


def _owned(cuts: Sequence[Cut], names: Collection[str], facts: Clues) -> dict[str, Owner]:
    if not facts.is_live:
        return owners_beside(cuts, names)
    met = owners_met(facts.live)
    return {name: met[name] for name in names if name in met}


def _nearest(source: str, names: Collection[str], tree: Node, facts: Clues, expectation: Expectation) -> ClassMismatch:
    """Return the error for names that no set of cuts leads to the class, with the reading that comes closest."""
    readings = [Unwrapping()]
    with contextlib.suppress(WrongDeclaration):
        readings.append(Unwrapping(*assume(source, tree, facts.declared, facts.metadata or ())))
    leftovers = []
    for reading in readings:
        own = owners_beside(reading.cuts, names)
        missing, extra = unmet([reading.bare(name) for name in names if name not in own], expectation)
        leftovers.append((len(missing) + len(extra), missing, extra, reading))
    _, missing, extra, reading = min(leftovers, key=lambda leftover: leftover[0])
    worded = " and ".join(f"with `{cut.path}` cut" for cut in reading.cuts) or "as it is"
    fitting = [f"{facts.key}.{path}".lstrip(".") for path in _fitting(names, expectation)]
    averages = [key.replace("/", ".") for key, inner in facts.averages.items() if not any(unmet(inner, expectation))]
    fitting += [key for key in averages if key not in fitting]
    return ClassMismatch(source, facts.target, worded, missing, extra, fitting)


def _fitting(names: Collection[str], expectation: Expectation) -> list[str]:
    """Return the paths under which the names are those of the class: a file may hold a model and its average as one."""
    by_path: dict[str, list[str]] = {}
    for name in names:
        for position in (index for index, character in enumerate(name) if character == "."):
            by_path.setdefault(name[:position], []).append(name[position + 1 :])
    fewest = len(expectation.names - expectation.dispensable)  # else each module is held against the whole class
    large = {path: inner for path, inner in by_path.items() if len(inner) >= fewest}
    return [path for path, inner in large.items() if not any(unmet(inner, expectation))]


def _check_declaration(source: str, cuts: Iterable[Cut], facts: Clues) -> None:
    """Refuse a declaration of ``single`` where the class or the objects prove a wrapper that several devices need."""
    if facts.declared == () and (cut := _against_single(cuts)) is not None:
        raise WrongDeclaration(source, "single", cut.wrapper, cut.path, f"--from {cut.wrapper.partition(OR)[0]}")


def _against_single(cuts: Iterable[Cut]) -> Cut | None:
    """Return a cut of a wrapper that nobody has who declares ``single``; a compiled model may be one."""
    return next((cut for cut in cuts if cut.wrapper != PREFIX and cut.components[-1] not in RESERVED), None)


def _foreign(
    values: Collection[str], structural: Collection[str], unwrapping: Unwrapping, expectation: Expectation | None
) -> tuple[str, ...]:
    """Return the plain values that stand beside the tensors and are nothing of the class: a counter, a rate."""
    if expectation is None:
        return ()
    among = set(structural)
    return tuple(n for n in values if n not in among and unwrapping.bare(n) not in expectation.values)


def _outside(cuts: Sequence[Cut], values: Collection[str], structural: Collection[str]) -> tuple[str, ...]:
    """Return the plain values that stand beside the wrapped names instead of among them."""
    root: tuple[str, ...] = ()
    for cut in cuts:
        root = cut.components if cut.components[:-1] == root else root
    return tuple(name for name in values if name not in structural and tuple(name.split("."))[: len(root)] != root)


def _rename(source: str, names: Iterable[str], unwrapping: Unwrapping) -> dict[str, str]:
    taken: dict[str, str] = {}
    for name in names:
        canonical = unwrapping.bare(name)
        if canonical in taken:
            raise CollidingNames(source, taken[canonical], name, canonical)
        taken[canonical] = name
    return {name: canonical for canonical, name in taken.items()}


def _restored(names: Mapping[str, str], unwrapping: Unwrapping, facts: Clues) -> dict[str, str]:
    """Return the tied names that the file lacks: those that the class ties, or that the writer says it dropped."""
    have = set(names.values())
    restored = {}
    for group in facts.expectation.ties if facts.expectation else ():
        kept = next((name for name in group if name in have), None)
        if kept is not None:
            restored.update({name: kept for name in group if name not in have})
    for dropped, kept in facts.dropped.items():
        name, original = unwrapping.bare(dropped), unwrapping.bare(kept)
        if original in have and name not in have and is_tie(name, original, facts.expectation):
            restored.setdefault(name, original)
    return restored


def _judge(
    source: str,
    names: Mapping[str, str],
    canonical: Sequence[str],
    tensors: Signature,
    metadata: Mapping[str, Mapping[str, Any]] | None,
    facts: Clues,
    expectation: Expectation,
) -> tuple[str, ...]:
    """Hold the canonical names and shapes against the class; return the counters that an old file may lack."""
    missing, extra = unmet(canonical, expectation)
    defaulted = sorted(expectation.defaults.difference(canonical))
    missing += [name for name in defaulted if knows_counter(name, metadata)]
    if missing or extra:
        raise ClassMismatch(source, facts.target, "with the class's cuts", missing, extra)
    differences = [
        (name, tensors[original].shape, expectation.tensors[name].shape)
        for original, name in names.items()
        if name in expectation.tensors and tensors[original].shape != expectation.tensors[name].shape
    ]
    if differences:
        raise ShapesDiffer(source, facts.target, differences)
    return tuple(defaulted)


def canonical_metadata(
    metadata: Mapping[str, Mapping[str, Any]] | None, unwrapping: Unwrapping
) -> dict[str, Mapping[str, Any]] | None:
    """Return ``_metadata`` under canonical paths; of a wrapper and its child, the child's stays."""
    if metadata is None:
        return None
    canonical = {}
    for path in sorted(metadata, key=lambda path: path.count(".") + bool(path)):
        bare = unwrapping.bare(path) if path else ""
        canonical[".".join(c for c in bare.split(".") if c not in RESERVED)] = metadata[path]
    return canonical


def _stack(unwrapping: Unwrapping, facts: Clues) -> tuple[str, ...]:
    """Return the wrappers seen, outermost first, then those that were declared and left no name."""
    seen = unwrapping.stack
    live = tuple(met.wrapper for met in facts.live)
    return (*seen, *dict.fromkeys(name for name in (*live, *(facts.declared or ())) if name not in seen))


def _refuse_shards(source: str, tensors: Signature, facts: Clues) -> None:
    flat = next((name for name in tensors if name.rpartition(".")[2].startswith(FLAT_PARAMETERS)), None)
    if flat is not None:
        raise ShardedNames(source, f"'{flat}' is a flat parameter")
    if facts.expectation is not None or facts.is_live:
        return  # the shapes of the class tell, and what is live was gathered
    if all(len(spec.shape) == 1 for spec in tensors.values()) and len(tensors) > 1:
        if any("_fsdp_wrapped_module" in module for module in facts.metadata or ()):
            why = "every tensor is flat, and the metadata names FSDP"
            raise ShardedNames(source, why, "; if these are whole, name the class with --model")
        if facts.declared != () and (found := _cut_apart(tensors)) is not None:
            why = f"every tensor is flat, and '{found[0]}' is empty where '{found[1]}' is not"
            raise ShardedNames(source, why, "; if these are whole, name the class with --model, or say --from-single")


def _cut_apart(tensors: Signature) -> tuple[str, str] | None:
    """Return a tensor of no elements and one that has some, where layers make the two alike; None if there is no pair.

    Those are tensors of one key in several modules, and the weight and the bias of one: where all are flat, they are
    those of a norm, and equally long.
    """
    alike: dict[tuple[str, ...], dict[bool, str]] = {}
    for name, spec in tensors.items():
        path, _, key = name.rpartition(".")
        groups = [("key", key)] if path else []
        groups += [("module", path)] if key in ("weight", "bias") else []
        for group in groups:
            alike.setdefault(group, {})[spec.numel == 0] = name
    return next(((pair[True], pair[False]) for pair in alike.values() if len(pair) == 2), None)
