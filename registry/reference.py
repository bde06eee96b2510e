"""References: how a user names a version, and the one grammar of the names in them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import PurePath

from registry.errors.catalog import InvalidAlias, InvalidModelName, InvalidReference, NamedLikeAFile

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})")
_LIKE_A_VERSION = re.compile(r"[vV]?[0-9]+")
_DIGEST = re.compile(r"[0-9a-fA-F]{4,64}")

LATEST = "latest"
"""``name:latest`` is ``name``: the newest version; it moves by itself, so nobody can set it."""

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".th", ".ckpt", ".t7", ".bin", ".tar", ".safetensors", ".distcp")
"""What the names of files of weights end in, and those of new models do not."""

_SUFFIXES = {*CHECKPOINT_SUFFIXES, ".index", ".json"}


_BEGINNINGS_OF_A_PATH = ("/", "./", "../", "~")


def is_path(given: str | os.PathLike[str]) -> bool:
    """Whether an argument that may be a reference or a path is a path; its spelling decides, never the disk.

    A ``PathLike`` is one, and a text that begins with ``/``, ``./``, ``../`` or ``~`` or ends in a checkpoint's suffix.
    """
    if not isinstance(given, str):
        return isinstance(given, os.PathLike)
    if given.startswith(_BEGINNINGS_OF_A_PATH) or given in (".", ".."):
        return True
    return PurePath(given).suffix.lower() in _SUFFIXES


@dataclass(frozen=True)
class Reference:
    """A name and at most one of version, alias and digest prefix; with none of them, the newest version."""

    name: str
    version: int | None = None
    alias: str | None = None
    digest: str | None = None
    """The first hexadecimal digits of the weights' digest, in lower case."""

    @property
    def is_name(self) -> bool:
        """Whether it is a name alone."""
        return self.version is None and self.alias is None and self.digest is None

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}:v{self.version}"
        if self.alias is not None:
            return f"{self.name}:{self.alias}"
        if self.digest is not None:
            return f"{self.name}@{self.digest}"
        return self.name


def parse(text: str) -> Reference:
    """Read ``name``, ``name:v3``, ``name:alias``, ``name:latest`` or ``name@digest-prefix``.

    Raises:
        InvalidReference: it is none of these.
        InvalidModelName, InvalidAlias: a part breaks the grammar.
    """
    if not isinstance(text, str):
        raise InvalidReference(text, "it is no text")
    marks = [mark for mark in text if mark in ":@"]
    if len(marks) > 1:
        raise InvalidReference(text, "it has more than one ':' or '@'")
    if not marks:
        return Reference(check_model_name(text))
    name, mark, rest = text.partition(marks[0])
    check_model_name(name)
    if mark == "@":
        if not _DIGEST.fullmatch(rest):
            raise InvalidReference(text, "what follows '@' is not 4 to 64 hexadecimal digits")
        return Reference(name, digest=rest.lower())
    if rest == LATEST:
        return Reference(name)
    if version := _VERSION.fullmatch(rest):
        return Reference(name, version=int(version[1]))
    return Reference(name, alias=check_alias(rest))


def check_model_name(text: str) -> str:
    """Return a legal name of a model unchanged.

    Raises:
        InvalidModelName: with a legal name that is near.
    """
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise InvalidModelName(text, _legal(_stem(text)) if isinstance(text, str) else "model")
    return text


def check_new_model_name(text: str) -> str:
    """Return a name that a new model may bear. Models that were named like files before this rule keep their names.

    Raises:
        NamedLikeAFile: it ends in a checkpoint's suffix, as where a shell put a second file in the name's place.
        InvalidModelName: it is no legal name at all.
    """
    if is_named_like_a_file(check_model_name(text)):
        raise NamedLikeAFile(text, _legal(_stem(text)))
    return text


def check_alias(text: str) -> str:
    """Return a legal alias unchanged.

    Raises:
        InvalidAlias: it breaks the grammar, looks like a version, or is reserved.
    """
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise InvalidAlias(text, "an alias is 1 to 128 ASCII letters, digits, '.', '_' or '-'")
    if _LIKE_A_VERSION.fullmatch(text):
        raise InvalidAlias(text, "it looks like a version number, which no alias may")
    if text == LATEST:
        raise InvalidAlias(text, "it always means the newest version and cannot be set")
    return text


def is_named_like_a_file(text: str) -> bool:
    """Whether a name ends as the names of checkpoints do: ``best.pth``, ``MODEL.CKPT``."""
    return text.lower().endswith(CHECKPOINT_SUFFIXES)


def same_name_as_file_stem(path: str | os.PathLike[str]) -> str:
    """Return the model's name that a file or folder suggests: ``best`` for ``runs/best.pth``.

    Raises:
        InvalidModelName: the stem is no legal name; the error proposes one.
    """
    file = PurePath(path)
    return check_model_name(_stem(file.name))


def _stem(name: str) -> str:
    """Return a file's name without the suffixes that checkpoints have: ``chgnet`` of ``chgnet.pth.tar``."""
    while (suffix := PurePath(name).suffix).lower() in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _legal(text: str) -> str:
    """Return a legal name that looks like an illegal one."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text[:128]).lstrip(".-").rstrip("-") or "model"
