"""Versions as files that other programs read."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.catalog.entry import Entry
from registry.errors.exports import CannotExport, UnknownFormat
from registry.home.home import Home
from registry.loading.plan import ExportPlan, plan
from registry.tensors.decoding import decode, decode_metadata
from registry.tensors.manifest import Manifest

if TYPE_CHECKING:
    import torch

    from registry.blobs.writer import Progress

PREFIXES = {"pth": (), "ddp": ("module",), "compile": ("_orig_mod",)}
"""Formats that torch reads, with the components that go in front of every name."""

FOLDER = "hf"
"""The format that is a folder."""

FORMATS = ("safetensors", *PREFIXES, "as-saved", FOLDER)

_REMEDIES = {
    errno.ENAMETOOLONG: "give a shorter name",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space or choose another folder"),
}
"""What to do about what the system says; else another folder will do."""

SUFFIXES = {
    ".safetensors": "safetensors",
    **dict.fromkeys((".pth", ".pt", ".th", ".ckpt", ".t7", ".bin", ".tar"), "pth"),
}
"""What a file is, by the end of its name; another program goes by that, too."""


def format_of(out: str | os.PathLike[str], format: str | None) -> str:
    """Return the format that is asked for: the given one, else what the suffix says, else safetensors.

    Raises:
        UnknownFormat: there is no such format.
        CannotExport: the suffix says another one, or none that is written here.
    """
    suffix = Path(out).suffix.lower()
    meant = SUFFIXES.get(suffix)
    if format == FOLDER:
        if meant is not None:
            raise CannotExport(str(out), f"--format {FOLDER} writes a folder; give a name without '{suffix}'")
        return format
    if format is None and suffix and meant is None:
        raise CannotExport(str(out), f"the suffix '{suffix}' is of no format written here; use .safetensors or .pth")
    format = format or meant or "safetensors"
    if format not in FORMATS:
        raise UnknownFormat(format, FORMATS)
    if meant is not None and (meant == "safetensors") != (format == "safetensors"):
        kind, fitting = ("safetensors", ".safetensors") if format == "safetensors" else ("torch", ".pth")
        raise CannotExport(str(out), f"--format {format} writes a {kind} file, which '{suffix}' is not; use {fitting}")
    return format


def check_export(out: str | os.PathLike[str]) -> Path:
    """Return the path to write, or refuse it before anything is read.

    Raises:
        CannotExport: something is there already, or its folder is not.
    """
    path = Path(out)
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise CannotExport(str(path), way_out(error)) from error
    else:
        raise CannotExport(str(path), "it exists already; remove it or give another name")
    if not path.parent.is_dir():
        raise CannotExport(str(path), f"the folder {path.parent} does not exist; create it first")
    return path


def export(
    home: Home,
    ref: str,
    out: str | os.PathLike[str],
    format: str | None,
    progress: Progress | None = None,
    part: str | None = None,
) -> Path:
    """Write a version's weights to a new file, whole or not at all.

    ``safetensors`` holds the canonical names, ``pth`` the same for ``torch.load``, ``ddp`` and ``compile`` the names of
    the wrapped model, and ``as-saved`` the names that the pushed file had, its wrappers' own tensors included. ``hf``
    is a folder.

    Raises:
        UnknownFormat, CannotExport: as ``format_of`` and ``check_export``; nothing is read then.
        RegistryError: there is no such version, or its bytes are not what was stored.
    """
    format = format_of(out, format)
    if format == FOLDER:
        from registry.loading.hub_folder import export_folder

        home.part(home.resolve(ref), part)
        return export_folder(home, ref, out, progress)
    path = check_export(out)
    entry = home.part(home.resolve(ref), part)
    manifest = home.manifest(entry)
    if format == "safetensors":
        if manifest.values:
            name = next(iter(manifest.values))
            raise CannotExport(
                str(path), f"'{name}' is not a tensor, which is all that safetensors holds; export to a .pth file"
            )
        with new_file(path) as file:
            write_planned(file, home, entry, plan(manifest), progress)
    else:
        import torch

        state = _renamed(format, home.tensors(entry, manifest, progress=progress), manifest, entry)
        with new_file(path) as file:
            torch.save(state, file)
    return path


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a file to write to, which has the name when all is written, and is gone if that fails.

    Raises:
        CannotExport: the disk is full, or the folder is read-only.
    """
    # Not with the file's own name in it, which may be as long as a name can be.
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        # torch does not say in an OSError why it cannot begin.
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.rename(path)
    except (OSError, RuntimeError) as error:
        raise CannotExport(str(path), way_out(error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_planned(file: Path, home: Home, entry: Entry, planned: ExportPlan, progress: Progress | None = None) -> None:
    """Write what is planned, and check every byte of it on its way."""
    from registry.disk.writing import STRETCH, Outflow

    done, total = 0, sum(stored.spec.nbytes for stored in planned.tensors.values())
    handle = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        out = Outflow(handle)
        out.write(memoryview(planned.header))
        for name, stored in planned.tensors.items():
            for piece in home.pieces(entry, name, stored, STRETCH):
                out.write(piece)
                done += len(piece)
                if progress is not None:
                    progress(done, total)
    finally:
        os.close(handle)


def way_out(error: Exception) -> str:
    """Return what the system said and what to do; torch only says that its file is too short."""
    if isinstance(error, ValueError):
        return "its name holds a character that no file's name can have; give another name"
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        return "it could not be written to its end; free some space or choose another folder"
    remedy = _REMEDIES.get(number, "choose another folder")
    return f"{os.strerror(number)}; {remedy}"


def _renamed(
    format: str,
    tensors: Mapping[str, torch.Tensor],
    manifest: Manifest,
    entry: Entry,
) -> OrderedDict[str, Any]:
    values = {name: decode(value) for name, value in manifest.values.items()}
    metadata, unwrapping = decode_metadata(manifest.metadata), entry.unwrapping
    if format == "as-saved":
        state = {
            unwrapping.wrapped(name): value
            for name, value in {**tensors, **values}.items()
            if name not in unwrapping.absent
        }
        state.update({name: decode(value) for name, value in unwrapping.own.items()})
        state.update({n: decode(own.value) for n, own in zip(unwrapping.set_aside, manifest.wrappers, strict=True)})
        modules = {unwrapping.wrapped(path) if path else "": facts for path, facts in (metadata or {}).items()}
    else:
        wrapped = partial(_wrapped, PREFIXES[format], [each.part for each in entry.parts])
        state = {wrapped(name): value for name, value in {**tensors, **values}.items()}
        modules = {wrapped(path): facts for path, facts in (metadata or {}).items()}
        modules.setdefault("", {"version": 1})
    renamed = OrderedDict(state)
    if metadata is not None:
        renamed._metadata = modules  # type: ignore[attr-defined]
    return renamed


def _wrapped(prefix: tuple[str, ...], parts: Collection[str], name: str) -> str:
    """Return a name, or a module's path, as the wrapped model has it; of several models each is wrapped by itself."""
    part, _, below = name.partition(".")
    if part not in parts:
        return name if parts else ".".join((*prefix, *filter(None, [name])))
    return ".".join((part, *prefix, *filter(None, [below])))
