"""A folder, walked and recognized: every file in it, and every folder that is one checkpoint.

No link leads out of it, and none is walked in a circle: what a link inside of it names is met where it lies. The cache
of huggingface_hub is made of links, from its snapshots to its blobs; repositories of git-annex and DVC may be. Those
are read where they stand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.checkpoints.folders import INDEXES, SINGLE
from registry.checkpoints.mapping import is_regular
from registry.checkpoints.other_formats import is_awaited
from registry.importing.recognition import Recognized, recognize, unread
from registry.importing.units import unit_of
from registry.reference import is_named_like_a_file

_DATABASE, _BLOBS, _CONFIGURATION = "registry.db", "blobs", "registry.toml"
_SNAPSHOTS, _HUB_FOLDER = "snapshots", "models--"
_STORES = (".git/annex/objects", ".dvc/cache")
"""Where git-annex and DVC keep the files of a repository that links in it name."""
_SHOWN_INSIDE = ("new", "damaged", "refused")


@dataclass(frozen=True)
class _Inside:
    """That a folder lies in one that is a checkpoint."""

    used: frozenset[Path] = frozenset()
    """The files that it was read from."""
    is_whole: bool = True
    """Whether it could be read; if not, what lies in it are its pieces."""


class Survey:
    """What lies in a folder."""

    def __init__(self, folder: Path, home: Path, *, closely: bool = False) -> None:
        """Take the folder.

        Args:
            home: the registry's, which is not looked into.
            closely: as ``recognize``.
        """
        self._root = folder
        self._real_root = Path(os.path.realpath(folder))
        self._home = Path(os.path.realpath(home))
        self._closely = closely
        self._left: list[tuple[Path, _Inside | None]] = [(folder, None)]

    def found(self) -> tuple[Recognized, ...]:
        """Walk it, and return everything in it by path, numbers in the order of their values."""
        lines: list[Recognized] = []
        while self._left:
            lines += self._folder(*self._left.pop())
        return tuple(sorted(lines, key=lambda line: natural(line.path)))

    def _folder(self, place: Path, inside: _Inside | None) -> Iterator[Recognized]:
        if os.path.realpath(place) == str(self._home):
            yield self._unread(place, "the registry's own home")
            return
        try:
            with os.scandir(place) as listed:
                entries = sorted(listed, key=lambda entry: natural(entry.name))
        except OSError as error:
            yield unread(place, self._path(place), "unreadable", f"cannot be listed: {error.strerror}")
            return
        names = {entry.name for entry in entries}
        if (_DATABASE in names and _BLOBS in names) or _CONFIGURATION in names:
            yield self._unread(place, "the home of a registry; copy its versions")
            return
        if place.name.startswith(_HUB_FOLDER) and _SNAPSHOTS in names:
            self._left.append((place / _SNAPSHOTS, inside))  # what it names lies in its "blobs"
            return
        unit, inside, used = self._unit(place, names, inside)
        if unit is not None:
            yield unit
        if unit is not None and unit.verdict == "refused" and "data.pkl" in names:
            return
        for entry in entries:
            yield from self._entry(Path(entry.path), entry, inside, used)

    def _unit(
        self, place: Path, names: set[str], inside: _Inside | None
    ) -> tuple[Recognized | None, _Inside | None, dict[Path, Recognized]]:
        """Return the line of a folder that is one checkpoint, what is said of all below it, and what was met."""
        kind = unit_of(place, names)
        if kind is None or (inside is not None and any(used.parent == place for used in inside.used)):
            return None, inside, {}
        line = self._recognized(place)
        met = self._loose(place, names, line) if kind == "single" and inside is None else {}
        if any(other.verdict in _SHOWN_INSIDE for other in met.values()):
            return None, inside, met  # a folder of checkpoints, one of which is called like a library calls it
        if line.verdict not in _SHOWN_INSIDE and inside is not None:
            return None, inside, met
        used = frozenset(line.files)
        if inside is not None:
            used |= inside.used
        return line, _Inside(used, line.verdict == "new"), met

    def _loose(self, place: Path, names: set[str], line: Recognized) -> dict[Path, Recognized]:
        """Return what lies beside the one file of a folder and is named like a checkpoint, too."""
        beside = [place / name for name in sorted(names) if name not in (*SINGLE, *INDEXES)]
        loose = [file for file in beside if is_named_like_a_file(file.name) and file not in line.files]
        return {file: self._recognized(file) for file in loose if is_regular(file) and not file.is_symlink()}

    def _entry(
        self, place: Path, entry: os.DirEntry[str], inside: _Inside | None, met: dict[Path, Recognized]
    ) -> Iterator[Recognized]:
        if inside is not None and place in inside.used:
            return
        if entry.name.startswith("."):
            if inside is None:
                yield self._unread(place, "hidden")
            return
        if entry.is_symlink() and not _is_kept_elsewhere(place):
            if inside is None:
                yield self._recognized(place) if is_awaited(place) else self._unread(place, self._of_link(place))
            return
        if os.path.isdir(place):  # noqa: PTH112 - Path.is_dir raises where the system refuses
            self._left.append((place, inside))
            return
        line = met.get(place) or self._recognized(place)
        if inside is None or (line.verdict == "new" or (inside.is_whole and _is_apart(line))):
            yield line

    def _recognized(self, place: Path) -> Recognized:
        line = recognize(place, self._path(place), closely=self._closely)
        out = next((file for file in line.files if not self._is_inside(file)), None)
        if out is not None:
            return self._unread(place, f"it reads {out.name}, a link out of the folder")
        return line

    def _is_inside(self, file: Path) -> bool:
        return _is_kept_elsewhere(file) or Path(os.path.realpath(file)).is_relative_to(self._real_root)

    def _of_link(self, place: Path) -> str:
        target = Path(os.path.realpath(place))
        if not os.path.exists(target):  # noqa: PTH110 - as above
            return "a link that leads nowhere"
        if target.is_relative_to(self._real_root):
            return f"a link to {target.relative_to(self._real_root)}"
        return f"a link out of the folder, to {target}"

    def _unread(self, place: Path, reason: str) -> Recognized:
        return unread(place, self._path(place), "skipped", reason)

    def _path(self, place: Path) -> str:
        return place.relative_to(self._root).as_posix()


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return what texts are sorted by, so that 9 comes before 10."""
    parts = re.findall(r"\d{1,18}|[^\d]+|\d+", text)
    return tuple((0, int(part), part) if part.isdecimal() and len(part) < 19 else (1, 0, part) for part in parts)


def _is_apart(line: Recognized) -> bool:
    """Whether what lies in a checkpoint's folder, and cannot be taken, is more than a piece of that checkpoint."""
    return line.verdict in _SHOWN_INSIDE and not line.is_part


def _is_kept_elsewhere(place: Path) -> bool:
    """Whether a link leads to where the tool that made it keeps the bytes of its own repository."""
    return _is_of_hub(place) or _is_in_a_store(place)


def _is_in_a_store(place: Path) -> bool:
    """Whether a link leads into the store of git-annex or of DVC, in the repository that the link itself is in."""
    if not place.is_symlink():
        return False
    target = Path(os.path.realpath(place))
    stores = (Path(os.path.realpath(folder)) / store for folder in place.parents for store in _STORES)
    return is_regular(place) and any(target.is_relative_to(store) for store in stores)


def _is_of_hub(place: Path) -> bool:
    """Whether a file of a snapshot of huggingface_hub leads to the bytes of the same repository."""
    for folder in place.parents:
        if folder.name == _SNAPSHOTS and folder.parent.name.startswith(_HUB_FOLDER):
            blobs = Path(os.path.realpath(folder.parent)) / _BLOBS
            return place.is_symlink() and Path(os.path.realpath(place)).is_relative_to(blobs)
    return False
