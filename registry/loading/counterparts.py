"""What a check compares: versions, files and live modules, each as a side under canonical names."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.canonical.dropped import is_tie
from registry.canonical.expectation import Expectation, counters, knows_counter
from registry.canonical.form import canonical_metadata, is_extra_state, reconcile
from registry.canonical.nearest import leftover, nearest, owners
from registry.canonical.owned import stored_values
from registry.canonical.unwrap import Unwrapping
from registry.catalog.entry import Entry
from registry.checkpoints.choosing import choose
from registry.checkpoints.mapping import status_of
from registry.checkpoints.opening import open_checkpoint
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.canonical import CollidingNames
from registry.errors.checkpoints import NoSuchCheckpoint
from registry.errors.intake import ChangedCheckpoint
from registry.errors.libraries import BuilderMismatch
from registry.errors.parts import UnknownPart
from registry.home.home import Home
from registry.inspection import Inspection, Question, examine
from registry.loading.check import CheckReport, CloserLook, Side, compare, encoded, encoded_owners, identical, merged
from registry.modules.builders.table import NONE, of_class, of_config
from registry.reference import is_path
from registry.tensors.manifest import Manifest
from registry.tensors.wrapper_value import Owner

ADAPTER = "peft"

if TYPE_CHECKING:
    import torch
    from torch import nn

    from registry.modules.holding import Holdings
    from registry.tensors.source import TensorSource


@dataclass(frozen=True)
class StoredVersion:
    """A version of a home."""

    home: Home
    entry: Entry
    manifest: Manifest

    knows_its_names = True

    def side(self, judge: Expectation | None) -> Side:
        """Return it under the names of its judge where that contradicts the stored reading."""
        manifest = self.manifest
        names = [*manifest.tensors, *(name for name in manifest.values if _is_of_the_model(name, judge))]
        correction = reconcile(names, self.entry.unwrapping, judge) if judge is not None else None
        renamed, owned = (correction.renamed, correction.owned) if correction is not None else ({}, {})
        names = [name for name in names if name not in owned]
        wrappers = stored_values(self.entry.unwrapping, manifest.wrappers)
        if moved := [name for name in owned if name in manifest.tensors]:
            from registry.modules.live import LiveTensor

            tensors = self.home.tensors(self.entry, manifest.only(moved))
            held = {owned[name]: LiveTensor(self.entry.ref, name, tensors[name]) for name in moved}
            wrappers.update(encoded_owners(held))
        wrappers.update({owner: manifest.values[name] for name, owner in owned.items() if name in manifest.values})
        stored = {renamed.get(name, name): name for name in names}

        def opened(wanted: Collection[str]) -> Callable[[str], torch.Tensor]:
            tensors = self.home.tensors(self.entry, manifest.only([stored[name] for name in wanted]))
            return lambda name: tensors[stored[name]]

        tensors_here = {new: manifest.tensors[name] for new, name in stored.items() if name in manifest.tensors}
        return Side(
            self.entry.ref,
            tensors_here,
            {new: manifest.values[name] for new, name in stored.items() if name not in manifest.tensors},
            [[renamed.get(name, name) for name in tie] for tie in manifest.ties],
            wrappers,
            counters(tensors_here),
            _predates(manifest.metadata),
            opened,
        )

    def confirm(self) -> None:
        """A version does not change."""


@dataclass(frozen=True)
class StoredFile:
    """A file or folder that was opened; nothing of it is stored."""

    checkpoint: Checkpoint
    key: str | Mapping[str, str] | None
    place: Path
    """Where it was asked for."""
    stamp: tuple[int, ...]
    """Of a file at that place, when it was opened."""

    knows_its_names = False

    def side(self, judge: Expectation | None) -> Side:
        """Return its weights under the names of their judge, or, without one, as a push would name them.

        Raises:
            RegistryError: it holds several sets of weights, or without a judge allows no reading.
        """
        if judge is None:
            inspection = self._examined()
            return self._side(inspection.weights, inspection.form.unwrapping, inspection.form.owned, None)
        weights = self._chosen(judge)
        names = weights.names
        reading = nearest(names, judge, weights.metadata or ())
        return self._side(weights, reading, owners(reading, names), judge)

    def _examined(self) -> Inspection:
        """Return it as a push would store it; where no library makes the model, its names are compared as they are."""
        try:
            return examine(self.checkpoint.source, Question(weights=self.key), self.checkpoint)
        except BuilderMismatch:
            return examine(self.checkpoint.source, Question(weights=self.key, builder=NONE), self.checkpoint)

    def confirm(self) -> None:
        """Raise if it was written to since it was opened.

        Raises:
            ChangedCheckpoint: it was.
        """
        try:
            is_same = _stamp(self.place) == self.stamp
        except NoSuchCheckpoint:
            is_same = False
        if not is_same or any(file.is_changed() for file in self.checkpoint.files):
            raise ChangedCheckpoint(self.checkpoint.source)

    def _chosen(self, judge: Expectation) -> WeightSet:
        """Return the set that was named, or the only one whose names are those of the judge."""
        sets = self.checkpoint.weight_sets
        if self.key is None and len(sets) > 1:
            with_averages = {found.key for found in sets if found.own is not None}
            fitting = [found for found in sets if found.inside not in with_averages and _fits(found, judge)]
            whole = [found for found in sets if found.inside is None]
            sets = tuple(fitting) if len(fitting) == 1 else sets if fitting else tuple(whole)
        return choose(replace(self.checkpoint, weight_sets=sets), self.key)

    def _side(
        self, weights: WeightSet, reading: Unwrapping, own: Mapping[str, Owner], judge: Expectation | None
    ) -> Side:
        tensors: dict[str, TensorSource] = {}
        in_file: dict[str, str] = {}
        for name, source in weights.tensors.items():
            if name in own:
                continue
            canonical = reading.bare(name)
            if canonical in tensors:
                raise CollidingNames(self.checkpoint.source, in_file[canonical], name, canonical)
            tensors[canonical], in_file[canonical] = source, name
        for dropped, kept in weights.aliases.items():
            name, original = reading.bare(dropped), reading.bare(kept)
            if original in tensors and is_tie(name, original, judge):
                tensors.setdefault(name, tensors[original])
        values = {reading.bare(name): value for name, value in weights.values.items() if name not in own}

        def values_of(wanted: Collection[str]) -> Callable[[str], torch.Tensor]:
            from registry.tensors.memory import tensor_of

            return lambda name: tensor_of(tensors[name])

        return Side(
            self.checkpoint.source,
            tensors,
            encoded({name: value for name, value in values.items() if _is_of_the_model(name, judge)}),
            identical(tensors),
            encoded_owners({owner: _held(weights, name) for name, owner in own.items()}),
            counters(tensors),
            _predates(canonical_metadata(weights.metadata, reading)),
            values_of,
        )


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter and the version that it is put on."""

    adapter: StoredVersion
    base: StoredVersion

    knows_its_names = True

    def side(self, judge: Expectation | None) -> Side:
        """Return both, each under its own names, none of which the other has."""
        one, other = self.adapter.side(None), self.base.side(None)

        def opened(wanted: Collection[str]) -> Callable[[str], torch.Tensor]:
            read = [
                (part, part.open([name for name in wanted if name in part.tensors]))
                for part in (one, other)
                if part.open is not None
            ]
            return lambda name: next(values for part, values in read if name in part.tensors)(name)

        return Side(
            one.title,
            {**other.tensors, **one.tensors},
            {**other.values, **one.values},
            [*one.ties, *other.ties],
            open=opened,
        )

    def confirm(self) -> None:
        """Versions do not change."""


Stored = StoredVersion | StoredFile | StoredAdapter


def open_file(path: str | os.PathLike[str], key: str | Mapping[str, str] | None) -> StoredFile:
    """Open a file or folder that somebody saved.

    Raises:
        RegistryError: it is not there, or no checkpoint.
    """
    place = Path(os.path.expanduser(os.fspath(path)))  # noqa: PTH111 - Path.expanduser raises where there is no home
    stamp = _stamp(place)
    return StoredFile(open_checkpoint(place), key, place, stamp)


def check(
    home: Home,
    subject: nn.Module | str | os.PathLike[str],
    against: str | os.PathLike[str],
    names: Sequence[str] | None,
    weights: str | Mapping[str, str] | None,
    part: str | None = None,
) -> CheckReport:
    """Compare a live module, or something stored, with a version or a file.

    Args:
        names: patterns of the only names to compare.
        weights: which set of weights of a file; ``part``: which of the models of a version.

    Raises:
        NothingToCheck: a pattern matches no name.
        RegistryError: there is no such version, a file cannot be read, or its names allow no reading.
    """
    if isinstance(subject, (str, os.PathLike)):
        found = [_find(home, given) for given in (subject, against)]
        if part is not None and not any(entry is not None and entry.parts for entry in found):
            raise UnknownPart(os.fspath(subject), part, [])
        parts = [home.part(entry, part) if entry is not None and entry.parts else entry for entry in found]
        pair = [_open(home, given, entry, weights) for given, entry in zip((subject, against), parts, strict=True)]
        return _check_stored(pair[0], pair[1], names)
    return _check_module(home, subject, against, names, weights, part)


def _find(home: Home, given: str | os.PathLike[str], part: str | None = None) -> Entry | None:
    if not is_path(given):
        return home.part(home.resolve(str(given)), part)
    if part is not None:
        raise UnknownPart(os.fspath(given), part, [], is_file=True)
    return None


def _open(
    home: Home, given: str | os.PathLike[str], entry: Entry | None, weights: str | Mapping[str, str] | None
) -> Stored:
    return open_file(given, weights) if entry is None else StoredVersion(home, entry, home.manifest(entry))


def _check_stored(here: Stored, against: Stored, names: Sequence[str] | None) -> CheckReport:
    """Compare two stored things; a version judges the names of a file."""
    readings = []
    if against.knows_its_names or not here.knows_its_names:
        other = against.side(None)
        readings.append((here.side(other.expectation), other))
    if not against.knows_its_names:
        one = here.side(None)
        readings.append((one, against.side(one.expectation)))
    report = compare(*min(readings, key=_apart), names)
    here.confirm()
    against.confirm()
    return report


def _apart(sides: tuple[Side, Side]) -> int:
    """Return how many names only one of two sides has."""
    return len(set(sides[0].names) ^ set(sides[1].names))


def _check_module(
    home: Home,
    module: nn.Module,
    against: str | os.PathLike[str],
    names: Sequence[str] | None,
    weights: str | Mapping[str, str] | None,
    part: str | None,
) -> CheckReport:
    """Compare what a live module holds now with something stored.

    A module of which each rank holds a part is compared by all ranks, each its own part, and all get one report; any
    other is compared by whoever calls, without waiting for anybody. What fails on one rank raises on all.
    """
    from registry.modules.holding import holdings, must_be_gathered
    from registry.modules.layout import is_sharded, model_class
    from registry.modules.live import open_live
    from registry.ranks import collective as ranks

    doing = f"checking {model_class(module).__name__}"
    if of_class(model_class(module)) == ADAPTER and not is_sharded(module):
        return _check_adapter(home, module, against, names, weights)
    if not (is_sharded(module) and ranks.in_job()):
        here = _gathered(module, open_live(module)) if must_be_gathered(module) else holdings(module)
        return _compared(here, _open(home, against, _find(home, against, part), weights), names)
    entry = ranks.from_rank_zero(doing, lambda: _find(home, against, part))
    stored = ranks.together(doing, lambda: _open(home, against, entry, weights))
    if must_be_gathered(module):
        whole = ranks.together(doing, lambda: open_live(module))
        return ranks.from_rank_zero(doing, lambda: _compared(_gathered(module, whole), stored, names))
    own = ranks.together(doing, lambda: _compared(holdings(module), stored, names))
    return merged(ranks.gathered(doing, own))


def _check_adapter(
    home: Home,
    module: nn.Module,
    against: str | os.PathLike[str],
    names: Sequence[str] | None,
    weights: str | Mapping[str, str] | None,
) -> CheckReport:
    """Compare a live adapter with a stored one, together with its base where that is here; or its base with another."""
    from registry.modules.builders.adapters import only
    from registry.modules.holding import holdings

    entry = _find(home, against)
    stored = _open(home, against, entry, weights)
    base = None
    if entry is not None and entry.builder == ADAPTER and entry.base is not None:
        base = home.catalog.with_weights(entry.base)
    is_adapter = entry.builder == ADAPTER if entry is not None else _is_adapter(stored)
    here = only(holdings(module), module, adapter=is_adapter, base=base is not None or not is_adapter)
    if base is not None and isinstance(stored, StoredVersion):
        stored = StoredAdapter(stored, StoredVersion(home, base, home.manifest(base)))
    return _compared(here, stored, names)


def _is_adapter(stored: Stored) -> bool:
    return isinstance(stored, StoredFile) and of_config(stored.checkpoint.documents.config) == ADAPTER


def _compared(here: Holdings, stored: Stored, names: Sequence[str] | None) -> CheckReport:
    from registry.modules.holding import is_more_than_bits, verdict

    there = stored.side(here.expectation)
    owned = encoded_owners(here.wrappers)
    side = Side(here.model, here.tensors, encoded(here.values), identical(here.tensors), owned, here.defaults)
    report = compare(side, there, names, CloserLook(is_more_than_bits, verdict))
    stored.confirm()
    return report


def _gathered(module: nn.Module, whole: Checkpoint) -> Holdings:
    """Return what a module holds that its ranks brought together, as rank 0 has it."""
    from registry.modules.holding import Holdings
    from registry.modules.layout import model_class

    inspection = examine(module, Question(), whole)
    values = {inspection.form.values[name]: value for name, value in inspection.weights.values.items()}
    specs = {name: source.spec for name, source in inspection.tensors.items()}
    expectation = Expectation(specs, frozenset(values))
    owned = {owner: _held(inspection.weights, name) for name, owner in inspection.form.owned.items()}
    return Holdings(model_class(module).__name__, inspection.tensors, values, expectation, wrappers=owned)


def _held(weights: WeightSet, name: str) -> Any:
    return weights.tensors[name] if name in weights.tensors else weights.values[name]


def _predates(metadata: Mapping[str, Any] | None) -> Callable[[str], bool]:
    return lambda name: not knows_counter(name, metadata)


def _is_of_the_model(name: str, judge: Expectation | None) -> bool:
    """Whether a value that is no tensor belongs to the model, and not beside it, as an epoch does in a flat dict."""
    return is_extra_state(name) or (judge is not None and name in judge.values)


def _fits(weights: WeightSet, judge: Expectation) -> bool:
    names = weights.names
    return not leftover(names, nearest(names, judge, weights.metadata or ()), judge)


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when somebody writes to a file, or puts another one in its place; nothing of a folder."""
    status = status_of(path)
    if not stat.S_ISREG(status.st_mode):
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
