"""Zip archives that torch.save did not write, known by what lies in them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

from registry.errors.canonical import some
from registry.errors.checkpoints import NotACheckpoint, TorchScriptArchive
from registry.errors.root import RegistryError
from registry.reference import is_named_like_a_file

PICKLE = "data.pkl"
"""What every archive of torch.save has."""
_LITTER = "__MACOSX/"
"""Where macOS puts its own files into an archive."""


class _Kind(NamedTuple):
    what: str
    is_it: Callable[[Set[str], Set[str]], bool]
    """Whether the paths of the members, and their names without folders, are those of such an archive."""
    remedy: str = ""
    """What to do; by default to unpack it."""


_PROGRAMS = (
    _Kind(
        "a program that torch.export wrote, and no state dict",
        # The first name is of torch before 2.7, the second of those since.
        lambda paths, names: (
            "serialized_exported_program.json" in names
            or ("archive_format" in names and any("/models/" in f"/{path}" for path in paths))
        ),
        'if you trust it, run torch.save(torch.export.load({source!r}).state_dict, "weights.pth") and push weights.pth',
    ),
    _Kind(
        "a model that torch compiled with AOTInductor, and no state dict",
        lambda paths, names: "archive_format" in names,
        "push the checkpoint that it was compiled from",
    ),
    _Kind(
        "a torch.package, which is code and no state dict",
        lambda paths, names: any(path.endswith(".data/extern_modules") for path in paths),
        "if you trust it, load its model with torch.package.PackageImporter, torch.save its state_dict() and push that",
    ),
)
"""What torch itself writes, and what may have a ``data.pkl``, too."""

_OTHERS = (
    _Kind(
        "an archive of numpy's arrays",
        lambda paths, names: bool(paths) and all(path.endswith(".npy") for path in paths),
        "if they are weights, run torch.save({{name: torch.as_tensor(array) for name, array in "
        'numpy.load({source!r}).items()}}, "weights.pth") and push weights.pth',
    ),
    _Kind(
        "a zip archive with a model of Keras",
        lambda paths, names: "model.weights.h5" in paths or {"config.json", "metadata.json"} <= paths,
        "save its weights from Keras under the names of a PyTorch model, and push that model's state dict",
    ),
    _Kind("a zip archive of stable-baselines3", lambda paths, names: "_stable_baselines3_version" in paths),
    _Kind("a zip archive of TorchServe", lambda paths, names: "MAR-INF/MANIFEST.json" in paths),
    _Kind(
        "a Python wheel", lambda paths, names: "WHEEL" in names and "METADATA" in names, "give the checkpoint itself"
    ),
    _Kind("an office document", lambda paths, names: "[Content_Types].xml" in paths, "give the checkpoint itself"),
)


def other_archive(members: Sequence[str], source: str) -> RegistryError | None:
    """Return the error that says what an archive is that torch.save did not write, and None of one that it did."""
    paths = {name for name in members if not name.startswith(_LITTER) and not name.endswith("/")}
    names = {name.rpartition("/")[2] for name in paths}
    if "constants.pkl" in names:
        return TorchScriptArchive(source)
    kinds = _PROGRAMS if PICKLE in names else (*_PROGRAMS, *_OTHERS)
    kind = next((kind for kind in kinds if kind.is_it(paths, names)), None)
    if kind is None and PICKLE in names:
        return None
    if kind is not None and kind.remedy:
        return NotACheckpoint(source, kind.what, kind.remedy.format(source=source), stands_for=kind in _PROGRAMS)
    what = kind.what if kind is not None else f"a zip archive of other files ({some(sorted(paths))})"
    weights = sorted(filter(is_named_like_a_file, paths), key=lambda path: ("optim" in path.lower(), path))
    remedy = f"unpack it and push the file inside that has the weights ({some(weights)})" if weights else "unpack it"
    return NotACheckpoint(source, what if paths else "an empty zip archive", remedy, stands_for=bool(weights))
