"""What may lie in a repository, and which of it is what: weights, the card, configurations, all else. Pure."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Collection

from registry.checkpoints.documents import (
    LARGEST_CARD,
    LARGEST_CONFIG,
    LARGEST_TOKENIZER,
    is_plain_path,
    kind_of,
)
from registry.errors.root import size as worded_size
from registry.reference import CHECKPOINT_SUFFIXES

from .answers import Refusal
from .files import INDEX, LARGEST_REGULAR, WEIGHTS

MOST_FILES = 10_000
_LONGEST_PATH = 500
_MOST = {"card": LARGEST_CARD, "config": LARGEST_CONFIG, "tokenizer": LARGEST_TOKENIZER}
_SHARD = re.compile(r"(.+)-(\d{5,})-of-(\d{5,})\.safetensors")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_STORAGE = re.compile(r"(?:[^/]+/)?data/\d+")
"""Where an archive of torch keeps the values of a tensor."""


def kind(path: str) -> str:
    """Return what a file is by its name: ``weights``, ``index``, ``card``, ``config``, ``tokenizer`` or ``file``."""
    if path.endswith(WEIGHTS):
        return "weights"
    return "index" if path.endswith(INDEX) else kind_of(path) or "file"


def check(path: str, size: int) -> None:
    """Let a file pass by its path and size.

    Raises:
        Refusal: it leads out of the repository, or is larger than files of its kind may be.
    """
    if not is_plain_path(path) or len(path) > _LONGEST_PATH:
        raise Refusal(400, f"'{path[:200]}' is not a valid path in a repository; write folders/name")
    what = kind(path)
    if what == "weights":
        if "/" in path:
            raise Refusal(400, f"'{path}' lies in a folder, and a model here has one set of weights, at the top")
        return
    most = _MOST.get(what, LARGEST_REGULAR)
    if size > most:
        if path.endswith(CHECKPOINT_SUFFIXES):
            raise pickled(path)
        raise Refusal(
            400, f"'{path}' has {worded_size(size)}, and {worded_size(most)} are the most for such a file; leave it out"
        )


def pickled(path: str) -> Refusal:
    """Return the refusal of weights that only a program that runs what is in them could read."""
    return Refusal(
        400,
        f"'{path}' holds pickled weights, which this server does not read; push them with `registry push`, or save "
        "them as safetensors",
    )


def is_pickled(path: str, content: bytes) -> bool:
    """Whether a small file holds weights as torch pickles them: an archive with values in it, or the older stream.

    Nothing is unpickled. An archive without values, such as ``training_args.bin``, is kept as any file.
    """
    if kind(path) == "weights" or not path.endswith(CHECKPOINT_SUFFIXES):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(_STORAGE.fullmatch(name) for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return _PICKLE.match(content) is not None


def replaced(there: Collection[str], put: Collection[str]) -> set[str]:
    """Return which files of weights, and indexes, give way to those of a commit: all that are not of the same series.

    A version has one set of weights; the set before is that of the version before.
    """
    series = {_series(path) for path in put if kind(path) == "weights"}
    if not series:
        return set()
    return {
        path
        for path in there
        if path not in put
        and ((kind(path) == "weights" and ({_series(path)} != series or None in series)) or _is_stale(path, series))
    }


def _is_stale(path: str, series: Collection[tuple[str, str] | None]) -> bool:
    """Whether an index is not that of a series."""
    stems = {each[0] for each in series if each is not None}
    return kind(path) == "index" and "/" not in path and path.removesuffix(INDEX) not in stems


def _series(path: str) -> tuple[str, str] | None:
    """Return stem and length of the series that a file of weights is of; None of one that is all of them."""
    found = _SHARD.fullmatch(path)
    return (found[1], found[3]) if found is not None else None


def weights_are_whole(paths: Collection[str]) -> bool:
    """Whether all of a model's files of weights are there: one, or a series with its index.

    Raises:
        Refusal: they cannot be those of one model.
    """
    files = [path for path in paths if kind(path) == "weights"]
    indexes = [path for path in paths if kind(path) == "index" and "/" not in path]
    series = {_series(path) for path in files}
    if len(series) > 1 or (None in series and len(files) > 1):
        named = " and ".join(f"'{path}'" for path in sorted(files)[:2])
        raise Refusal(400, f"{named} are two sets of weights, and a model here has one; leave one of them out")
    numbers = {int(found[2]) for path in files if (found := _SHARD.fullmatch(path)) is not None}
    totals = [int(each[1]) for each in series if each is not None]
    return bool(files) and all(bool(indexes) and numbers == set(range(1, total + 1)) for total in totals)
