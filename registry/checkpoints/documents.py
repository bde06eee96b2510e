"""The plain files beside the weights of a folder: configurations, the tokenizer, the card; and what is not kept.

The names are a closed list. Nothing here is run, and a link is followed only to where the folder's own files lie.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from registry.checkpoints.mapping import MemoryFile, OpenedFile, Span, is_regular, unopenable
from registry.errors.libraries import AttachmentTooLarge

CONFIG = ("config.json", "*_config.json", "config_*.json", "model_index.json", "modules.json")
"""Names of configurations: small JSON that says how a model is made and used."""
TOKENIZER = (
    *("tokenizer*.json", "tokenizer.*", "special_tokens_map.json", "added_tokens.json", "normalizer.json"),
    *("vocab*.json", "vocab*.txt", "vocab.bpe", "merges.txt", "bpe.codes", "dict.txt", "entity_vocab.json"),
    *("spiece.model", "spm_char.model", "sentencepiece*.model", "*.spm", "*.tiktoken", "prophetnet.tokenizer"),
    *("chat_template.jinja", "chat_template.json", "*.jinja"),
)
"""Names of a tokenizer's files; these are asked first, and ``tokenizer_config.json`` is one of them."""
CARD = "README.md"

LARGEST_CONFIG = 4 << 20
"""Bytes of one configuration."""
LARGEST_CARD = 1 << 20
LARGEST_TOKENIZER = 1 << 30
"""Bytes of one file of a tokenizer."""
_MOST_NAMED = 20
"""Files that are not kept and are told by name."""
DEEPEST = 3
"""Folders below the first one in which files are looked for."""
MOST_FILES = 10_000
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".distcp", ".th", ".tar", ".t7")


@dataclass(frozen=True)
class Documents:
    """What a folder has beside its weights, by the path in it."""

    config: Mapping[str, str] = field(default_factory=dict)
    tokenizer: Mapping[str, Span] = field(default_factory=dict)
    card: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """What tensors are called in the library's own files, by canonical name, where that is something else."""
    others: tuple[str, ...] = ()
    """What is not kept: files, and folders of which nothing is kept, which end in a slash."""
    files: tuple[OpenedFile, ...] = ()
    """What the tokenizer's files are read from."""


def read_documents(folder: Path) -> Documents:
    """Read what lies beside the weights of a folder.

    Raises:
        AttachmentTooLarge: a tokenizer's file is larger than any is.
        UnopenableCheckpoint, ChangedCheckpoint: the system cannot read a file of a tokenizer.
    """
    config: dict[str, str] = {}
    tokenizer: dict[str, Span] = {}
    others: list[str] = []
    card = None
    places = _places(folder)
    for name in _names(folder):
        kind = kind_of(name)
        path = folder / name
        if kind is None or not is_plain_path(name) or not is_regular(path) or not _lies_in(path, places):
            others.append(name)
        elif kind == "config" and (text := _text(path, LARGEST_CONFIG)) is not None and is_json(text):
            config[name] = text
        elif kind == "tokenizer":
            tokenizer[name] = _span(path)
        elif kind == "card" and (text := _text(path, LARGEST_CARD)) is not None:
            card = text
        else:
            others.append(name)
    files = tuple(span.file for span in tokenizer.values() if isinstance(span.file, OpenedFile))
    return Documents(config, tokenizer, card, others=tuple(others), files=files)


def kind_of(path: str) -> str | None:
    """Return of which kind a file is by its name: ``config``, ``tokenizer``, ``card``; None is not kept."""
    name = path.rpartition("/")[2]
    if path == CARD:
        return "card"
    if any(fnmatchcase(name, pattern) for pattern in TOKENIZER) and not name.endswith((".py", ".pkl")):
        return "tokenizer"
    return "config" if any(fnmatchcase(name, pattern) for pattern in CONFIG) else None


def is_plain_path(path: str) -> bool:
    """Whether a path leads to a place inside of the folder that it is written to, on every system."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        return False
    return path.isprintable()


def is_json(text: str) -> bool:
    """Whether a text is an object or a list of JSON."""
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _names(folder: Path) -> Iterator[str]:
    """Yield the files of a folder; one inside of it that is hidden, or has weights of its own, is yielded as a whole.

    What lies beside other weights belongs to them, such as a checkpoint of an earlier step.
    """
    count = 0
    for here, folders, names in os.walk(folder):
        at = Path(here).relative_to(folder)
        folders.sort()
        for name in list(folders):
            place = Path(here, name)
            if name.startswith(".") or place.is_symlink() or len(at.parts) >= DEEPEST or _has_weights(place):
                folders.remove(name)
                yield f"{(at / name).as_posix()}/"
        for name in sorted(names):
            count += 1
            if count > MOST_FILES:
                return
            yield (at / name).as_posix()


def _has_weights(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.endswith(_WEIGHTS) for entry in entries)
    except OSError:
        return False


def _places(folder: Path) -> tuple[Path, ...]:
    """Return where links in a folder may lead: into it, and from a snapshot in the Hub's cache to the files of that."""
    root = folder.resolve()
    cached = [above.parent / "blobs" for above in (root, *root.parents) if above.name == "snapshots"]
    return (root, *cached[:1])


def _lies_in(path: Path, places: tuple[Path, ...]) -> bool:
    try:
        found = path.resolve()
    except (OSError, RuntimeError):
        return False
    return any(found.is_relative_to(place) for place in places)


def _text(path: Path, most: int) -> str | None:
    """Return what a small file says; None of one that is no text, or larger."""
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        return content.decode() if len(content) <= most else None
    except (OSError, UnicodeDecodeError):
        return None


def _span(path: Path) -> Span:
    try:
        if path.stat().st_size == 0:
            return Span(MemoryFile(b""), 0, 0)
    except OSError as error:
        raise unopenable(path, error) from error
    file = OpenedFile(path)
    if file.size > LARGEST_TOKENIZER:
        raise AttachmentTooLarge(str(path), LARGEST_TOKENIZER)
    return Span(file, 0, file.size)


def said_of(others: tuple[str, ...]) -> str:
    """Return the sentence that names what is not kept, or nothing."""
    if not others:
        return ""
    shown = ", ".join(f"'{name[:200]}'" for name in others[:_MOST_NAMED])
    return f"not kept: {shown}" + (f", and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else "")
