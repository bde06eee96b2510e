"""A version as the folder that its library's ``from_pretrained`` loads; no library is needed to write it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry.attachments.files import Configuration, configuration, stored_files
from registry.catalog.entry import Entry
from registry.checkpoints.documents import CARD
from registry.disk.folders import sync_folder
from registry.errors.exports import CannotExport
from registry.home.home import Home
from registry.loading.export import way_out, write_planned
from registry.loading.plan import plan
from registry.modules.builders.table import STEMS
from registry.tensors.manifest import Manifest

if TYPE_CHECKING:
    from registry.blobs.writer import Progress

MOST_SHARD_BYTES = 5 * 10**9
"""Bytes of tensors from which on the weights are split over several files, as the libraries do."""

DROPS_TIES = ("transformers",)
"""Builders whose files have the first name of a tie alone; the others' have each."""


def export_folder(home: Home, ref: str, out: str | os.PathLike[str], progress: Progress | None = None) -> Path:
    """Write weights, configurations, tokenizer and card to a new folder, all of it or nothing.

    Raises:
        CannotExport: something is there already, it cannot be written, or no library's configuration is kept with the
            version.
        RegistryError: there is no such version, or its bytes are not what was stored.
    """
    path = check_folder(out)
    entry = home.resolve(ref)
    manifest, config = home.manifest(entry), configuration(home, entry)
    if not config.files:
        raise CannotExport(
            str(path),
            f"no configuration of a library is kept with {entry.ref}; push the folder that has it, or the "
            "live model, or export to a .safetensors file",
        )
    if manifest.values:
        name = next(iter(manifest.values))
        raise CannotExport(
            str(path), f"'{name}' is not a tensor, which is all that safetensors holds; export to a .pth file"
        )
    with _new_folder(path) as folder:
        _write_weights(folder, home, entry, in_files(manifest, entry, config), progress)
        for name, text in config.files.items():
            _write(folder, name, text.encode())
        for kind in ("tokenizer", "files"):
            for name, content in stored_files(home, entry, kind).items():
                if not name.endswith(".safetensors.index.json"):  # of the files that the weights came in
                    _write(folder, name, content)
        if (card := home.catalog.card(entry.name)) is not None:
            _write(folder, CARD, card.encode())
    return path


def check_folder(out: str | os.PathLike[str]) -> Path:
    """Return the folder to write, or refuse it before anything is read.

    Raises:
        CannotExport: there is something in it, or its parent is not there.
    """
    path = Path(out).absolute()
    try:
        is_free = not os.path.lexists(path) or (path.is_dir() and not path.is_symlink() and not any(path.iterdir()))
    except (OSError, ValueError) as error:
        raise CannotExport(str(path), way_out(error)) from error
    if not is_free:
        raise CannotExport(str(path), "there is something already; remove it or give another name")
    if not path.parent.is_dir():
        raise CannotExport(str(path), f"the folder {path.parent} does not exist; create it first")
    return path


def in_files(manifest: Manifest, entry: Entry, config: Configuration) -> Manifest:
    """Return a version's tensors as the library's own files have them: under its names, the tied ones once."""
    again: set[str] = set()
    for tie in manifest.ties if entry.builder in DROPS_TIES else ():
        kept = next((name for name in tie if name not in entry.unwrapping.absent), tie[0])  # as the pushed folder did
        again.update(name for name in tie if name != kept)
    tensors = {config.names.get(name, name): stored for name, stored in manifest.tensors.items() if name not in again}
    return replace(manifest, tensors=tensors, ties=(), metadata=None, wrappers=())


def weights_file(builder: str | None) -> str:
    """Return what the file of the weights is called, where they are in one."""
    return f"{STEMS.get(builder or '', 'model')}.safetensors"


def shards(manifest: Manifest, most: int = MOST_SHARD_BYTES) -> list[Manifest]:
    """Return the parts of a manifest that go into files of their own, none larger than ``most`` but of one tensor."""
    parts: list[list[str]] = [[]]
    held = 0
    for name, stored in manifest.tensors.items():
        if parts[-1] and held + stored.spec.nbytes > most:
            parts.append([])
            held = 0
        parts[-1].append(name)
        held += stored.spec.nbytes
    return [manifest.only(names) for names in parts]


def _write_weights(folder: Path, home: Home, entry: Entry, manifest: Manifest, progress: Progress | None) -> None:
    parts = shards(manifest)
    names = [weights_file(entry.builder)]
    stem = names[0].removesuffix(".safetensors")
    if len(parts) > 1:
        names = [f"{stem}-{number:05}-of-{len(parts):05}.safetensors" for number in range(1, len(parts) + 1)]
        _write(folder, f"{stem}.safetensors.index.json", index(dict(zip(names, parts, strict=True))))
    sizes = [sum(stored.spec.nbytes for stored in part.tensors.values()) for part in parts]
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        tell = None if progress is None else partial(_tell, progress, sum(sizes[:number]), sum(sizes))
        place = folder / name
        place.touch(exist_ok=False)
        write_planned(place, home, entry, plan(part), tell)
        with place.open("rb") as file:
            os.fsync(file.fileno())


def _tell(progress: Progress, before: int, total: int, done: int, _of_this: int) -> None:
    progress(before + done, total)


def index(parts: Mapping[str, Manifest]) -> bytes:
    """Return the index of weights in several files, by their names."""
    total = sum(stored.spec.nbytes for part in parts.values() for stored in part.tensors.values())
    where = {tensor: name for name, part in parts.items() for tensor in part.tensors}
    return json.dumps({"metadata": {"total_size": total}, "weight_map": where}, indent=2, sort_keys=True).encode()


def _write(folder: Path, name: str, content: bytes) -> None:
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write to, which has the name when all is written, and is gone if that fails.

    Raises:
        CannotExport: the disk is full, or its parent is read-only.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        temporary.mkdir()
        yield temporary
        for folder, _, _ in os.walk(temporary):
            sync_folder(Path(folder))
        temporary.rename(path)  # over an empty folder, too
        sync_folder(path.parent)
    except OSError as error:
        raise CannotExport(str(path), way_out(error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
