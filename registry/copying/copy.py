"""A copy from beginning to end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from registry.blobs.writer import Progress
from registry.catalog.arrivals import Arrived
from registry.catalog.parcel import Parcel
from registry.copying.bundles.reading import BundleShelf
from registry.copying.bundles.writing import plan, write
from registry.copying.intake import Intake
from registry.copying.places import Place, place_of, wanted
from registry.copying.report import CopiedVersion, CopyReport
from registry.copying.shelf import HomeShelf, Listed, Shelf, selected
from registry.errors.copying import NamesInBundle, NotAPlace, NothingToCopy, SameHome, SeveralModels
from registry.home.home import Home
from registry.loading.export import check_export
from registry.reference import check_new_model_name

Source = tuple[Shelf, Listed]


def copy(
    home: Home,
    refs: Sequence[str | os.PathLike[str]] | None,
    to: str | os.PathLike[str] | None,
    *,
    name: str | None = None,
    update: bool = False,
    without_base: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy versions of a home and of bundles to another home, or into a bundle.

    Args:
        refs: references and bundles; None for everything in the home.
        to: the place; None for this home, where bundles are taken into it.

    Raises:
        RegistryError: the copy stopped there; what is reported as copied by a second one was copied whole.
    """
    asked = wanted(refs) if refs is not None else None
    if to is None and (asked is None or asked.references or not asked.bundles):
        raise NotAPlace(str(refs[-1]) if refs else "")
    place = place_of(to) if to is not None else _place_of(home)
    references = None if asked is None else asked.references
    if name is not None:
        check_new_model_name(name)
    with contextlib.ExitStack() as opened:
        shelves: list[Shelf] = [opened.enter_context(BundleShelf(path)) for path in (asked.bundles if asked else ())]
        if references is None or references:
            if not place.is_bundle and _is_same(home.address, place.address):
                raise SameHome(str(home.address))
            shelves.append(HomeShelf(home, selected(home, references, with_bases=not without_base)))
        sources = list(_each_once(shelves))
        if not sources:
            raise NothingToCopy(str(home.address))
        models = sorted({listed.model for _, listed in sources})
        if name is not None and len(models) > 1:
            raise SeveralModels(name, models)
        if name is not None and place.is_bundle:
            raise NamesInBundle(name)
        report = progress or (lambda done, total: None)
        if place.is_bundle:
            return _pack(sources, place.path, dry_run, report)
        if dry_run:
            there = Home(place.address)
            return _forecast(there if there.is_made else None, sources, place.address, name, update)
        target = home if _is_same(home.address, place.address) else Home(place.address)
        try:
            return _take(target, shelves, sources, Intake(target, name=name, update=update), report)
        finally:
            if target is not home:
                target.close()


def _each_once(shelves: Sequence[Shelf]) -> Iterator[Source]:
    seen = set()
    for shelf in shelves:
        for listed in shelf.listed:
            if listed.identity not in seen:
                seen.add(listed.identity)
                yield shelf, listed


def _take(
    target: Home, shelves: Sequence[Shelf], sources: Sequence[Source], intake: Intake, progress: Progress
) -> CopyReport:
    """Take versions into a home, one after the other. It is made once the first of them is known to be sound."""
    copies = target.catalog.copies if target.is_made else None
    new = [(shelf, listed) for shelf, listed in sources if copies is None or not copies.is_here(listed.identity)]
    for shelf in shelves:
        shelf.verify([listed for its, listed in new if its is shelf])
    total, done = sum(listed.nbytes for _, listed in new), 0
    missing = {listed.identity for _, listed in new}
    versions = []
    for shelf, listed in sources:
        arrived = intake.take(shelf, listed, shelf.parcel(listed), partial(_go_on, progress, done, total))
        versions.append(_copied(listed, arrived, intake.name))
        if listed.identity in missing:
            done += listed.nbytes
            progress(done, total)
    return CopyReport(str(target.address), tuple(versions), intake.nbytes)


def _go_on(progress: Progress, before: int, total: int, moved: int, _: int) -> None:
    """Report how far one version is as a part of all."""
    progress(before + moved, total)


def _pack(sources: Sequence[Source], path: Path, dry_run: bool, progress: Progress) -> CopyReport:
    """Write versions into a bundle."""
    check_export(path)
    planned = plan(sources)
    if not dry_run:
        write(planned, path, progress)
    versions = tuple(CopiedVersion(listed.ref, listed.ref, "copied") for _, listed in sources)
    return CopyReport(str(path), versions, planned.nbytes, dry_run)


def _forecast(
    target: Home | None, sources: Sequence[Source], place: Path | str, name: str | None, update: bool
) -> CopyReport:
    """Say what a copy to a home, which may not be there yet, would do."""
    copies = target.catalog.copies if target is not None else None
    next_numbers: dict[str, int] = {}
    moved: dict[str, int] = {}
    versions = []
    for shelf, listed in sources:
        parcel = shelf.parcel(listed)
        arrived = copies.meet(parcel, shelf.place, update=update, dry_run=True) if copies is not None else None
        if arrived is None:
            called, following, is_other = (
                copies.standing(parcel, name) if copies is not None else (name or parcel.name, 1, False)
            )
            number = max(parcel.number, following, next_numbers.get(called, 1))
            next_numbers[called] = number + 1
            arrived = Arrived(called, number, is_new=True, is_other_model=is_other)
            moved |= _missing(target, parcel)
        versions.append(_copied(listed, arrived, name))
    if target is not None:
        target.close()
    return CopyReport(str(place), tuple(versions), sum(moved.values()), dry_run=True)


def _missing(target: Home | None, parcel: Parcel) -> dict[str, int]:
    """Return the bytes of the tensors that a home lacks of a version, by digest."""
    needed = {stored.digest: stored.spec.nbytes for _, stored in parcel.tensors()}
    here = target.catalog.locate(needed) if target is not None else {}
    return {digest: nbytes for digest, nbytes in needed.items() if digest not in here}


def _copied(listed: Listed, arrived: Arrived, name: str | None) -> CopiedVersion:
    notices = [str(difference) for difference in arrived.differences]
    if name not in (None, arrived.name):
        notices.append(f"it was there and keeps its name; `registry rename {arrived.name} {name}` there changes that")
    if arrived.is_other_model:
        notices.append(f"{arrived.name} here is another model than {listed.model} there; --name keeps the two apart")
    if arrived.is_new:
        outcome = "copied"
    elif arrived.is_trashed:
        outcome = "in the trash"
        notices.append(f"`registry restore {arrived.ref}` brings it back")
    else:
        outcome = "changed" if arrived.added else "already there"
    return CopiedVersion(listed.ref, arrived.ref, outcome, arrived.added, tuple(notices))  # type: ignore[arg-type]


def _place_of(home: Home) -> Place:
    return Place(home.folder, False, home.address if isinstance(home.address, str) else None)


def _is_same(one: Path | str, other: Path | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute() == other.absolute()
