"""References: how a user names a version, and the one grammar of the names in them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import date
from pathlib import PurePath

from registry.errors.catalog import InvalidAlias, InvalidModelName, InvalidReference, NamedLikeAFile, VersionAsName

_PART = r"[A-Za-z0-9_](?:(?:[A-Za-z0-9_]|\.(?!\.)|-(?!-))*[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_PART}(?:/{_PART})?")
_LONGEST_NAME = 96
_OLDER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""What a model could be called before there were namespaces; an alias still can."""

_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})")
_LIKE_A_VERSION = re.compile(r"[vV]?[0-9]+")
_DIGEST = re.compile(r"[0-9a-fA-F]{4,64}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

LATEST = "latest"
"""``name:latest`` is ``name``: the newest version; it moves by itself, so nobody can set it."""

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".th", ".ckpt", ".t7", ".bin", ".tar", ".safetensors", ".distcp")
"""What the names of files of weights end in."""

_SUFFIXES = {*CHECKPOINT_SUFFIXES, ".index", ".json"}
_OF_FILES = (*sorted(_SUFFIXES), ".bundle")
"""What no new model's name ends in: it would be taken for a path."""

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
    day: date | None = None
    """With an alias: where it pointed at the end of that day, in UTC."""

    @property
    def is_name(self) -> bool:
        """Whether it is a name alone."""
        return self.version is None and self.alias is None and self.digest is None

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}:v{self.version}"
        if self.alias is not None:
            return f"{self.name}:{self.alias}" + (f"@{self.day.isoformat()}" if self.day is not None else "")
        if self.digest is not None:
            return f"{self.name}@{self.digest}"
        return self.name


_NO_ADDRESS = "a server is named apart from what is on it, with --home or REGISTRY_HOME or as registry.Registry('http://HOST:8080')"
_NO_PATH = "it is a path: `registry push` stores a file, and `registry check` compares one with what is stored"
_OF_MLFLOW = re.compile(r"models:/+([\w./-]+?)(?:/v?(\d+)|@([\w.-]+))?", re.ASCII)
"""How MLflow addresses a model."""


def parse(text: str) -> Reference:
    """Read ``name``, ``name:v3``, ``name:alias``, ``name:alias@2026-11-01``, ``name:latest`` or ``name@digest-prefix``.

    Raises:
        InvalidReference: it is none of these.
        InvalidModelName, InvalidAlias: a part breaks the grammar.
    """
    if not isinstance(text, str):
        raise InvalidReference(text, "it is not a text")
    if text.startswith(("http://", "https://")):
        raise InvalidReference(text, _NO_ADDRESS)
    if text.startswith(_BEGINNINGS_OF_A_PATH):
        raise InvalidReference(text, _NO_PATH)
    if there := _OF_MLFLOW.fullmatch(text):
        name, number, alias = there.groups()
        near = name + (f":v{number}" if number else f":{alias}" if alias else "")
        raise InvalidReference(text, "it is an address of MLflow", near)
    marks = "".join(mark for mark in text if mark in ":@")
    if marks not in ("", ":", "@", ":@"):
        raise InvalidReference(text, "it has more than one ':' or '@'")
    name, mark, rest = (text, "", "") if not marks else text.partition(marks[0])
    if not mark and (near := with_colon(name)) and name.count("/") > 1:
        raise InvalidReference(text, "a version follows ':'", near)
    check_model_name(name)
    if not mark:
        return Reference(name)
    if mark == "@":
        if _DAY.fullmatch(rest):
            raise InvalidReference(text, f"a day follows an alias: {name}:best@{rest}")
        if not _DIGEST.fullmatch(rest):
            near = f"{name}:{rest}" if _is_word(rest) else ""
            raise InvalidReference(text, "what follows '@' is not 4 to 64 hexadecimal digits", near)
        return Reference(name, digest=rest.lower())
    word, dated, day = rest.partition("@")
    if dated and (word == LATEST or _VERSION.fullmatch(word)):
        raise InvalidReference(text, f"only an alias that is set has a history, and '{word}' is not one")
    if word == LATEST:
        return Reference(name)
    if version := _VERSION.fullmatch(word):
        return Reference(name, version=int(version[1]))
    if _LIKE_A_VERSION.fullmatch(word):
        number = int(word.lstrip("vV"))
        raise InvalidReference(text, "the numbers of versions are written like v3", f"{name}:v{number}")
    return Reference(name, alias=check_alias(word), day=_day(text, day) if dated else None)


def _is_word(text: str) -> bool:
    """Whether a text is a version or an alias, and no part of a digest."""
    try:
        return not re.fullmatch(r"[0-9A-Fa-f]+", text) and bool(_VERSION.fullmatch(text) or check_alias(text))
    except InvalidAlias:
        return False


def _day(text: str, day: str) -> date:
    try:
        if _DAY.fullmatch(day):
            return date.fromisoformat(day)
    except ValueError:
        pass
    raise InvalidReference(text, "what follows '@' is not a day such as 2026-11-01")


def check_model_name(text: str) -> str:
    """Return a name that a model may have unchanged: one that a new model may bear, or that one could bear before.

    Raises:
        InvalidModelName: with a legal name that is near.
        VersionAsName: it is the reference of a version.
    """
    if not isinstance(text, str) or not is_older_name(text):
        if isinstance(text, str) and _is_regular(name := re.split("[:@]", text, maxsplit=1)[0]) and name != text:
            raise VersionAsName(text, name)
        raise InvalidModelName(text, _legal(text) if isinstance(text, str) else "model")
    return text


def check_new_model_name(text: str) -> str:
    """Return a name that a new model may bear. Models that were named before this rule keep their names.

    ``[namespace/]model``, together at most 96 characters; of both the characters are ASCII letters, digits, ``.``,
    ``_`` and ``-``; the first is no ``.`` or ``-``, neither is the last, and there are no two of one in a row.

    Raises:
        NamedLikeAFile: it ends in a checkpoint's suffix, as where a shell put a second file in the name's place.
        InvalidModelName: it is not a legal name at all.
    """
    if isinstance(text, str) and _ends_like_a_file(text):
        raise NamedLikeAFile(text, _legal(text))
    check_model_name(text)
    if not _is_regular(text):
        raise InvalidModelName(text, _legal(text))
    return text


def may_be_new(text: str) -> bool:
    """Whether a new model may bear a name."""
    return _is_regular(text) and not _ends_like_a_file(text)


def with_colon(text: str) -> str:
    """Return the reference that is meant where a version is written like a folder (``pointnet/v1``), else nothing."""
    name, _, word = text.rpartition("/")
    return f"{name}:v{int(word.lstrip('vV'))}" if name and _LIKE_A_VERSION.fullmatch(word) else ""


def is_older_name(text: str) -> bool:
    """Whether a model may have a name, be it from before the rule for new ones."""
    return _is_regular(text) or _OLDER_NAME.fullmatch(text) is not None


def legal_name(text: str) -> str:
    """Return the name for a new model that looks like a text: ``epoch-3-step-100`` of ``epoch=3-step=100``.

    It is empty where nothing of the text can stand in one.
    """
    return _legal(text) if re.search(r"\w", text, re.ASCII) else ""


def check_alias(text: str) -> str:
    """Return a legal alias unchanged.

    Raises:
        InvalidAlias: it breaks the grammar, looks like a version, or is reserved.
    """
    if not isinstance(text, str) or not _OLDER_NAME.fullmatch(text):
        raise InvalidAlias(text, "an alias is 1 to 128 ASCII letters, digits, '.', '_' or '-'")
    if _LIKE_A_VERSION.fullmatch(text):
        raise InvalidAlias(text, "it looks like a version number, which no alias may")
    if text == LATEST:
        raise InvalidAlias(text, "it always means the newest version and cannot be set")
    return text


def is_named_like_a_file(text: str) -> bool:
    """Whether a name ends as the names of checkpoints do: ``best.pth``, ``MODEL.CKPT``."""
    return text.lower().endswith(CHECKPOINT_SUFFIXES)


def file_stem(path: str | os.PathLike[str]) -> str:
    """Return the name of a file or folder without the suffixes that checkpoints have: ``chgnet`` of ``chgnet.pth.tar``.

    It need not be a valid name of a model.
    """
    return _stem(PurePath(path).name)


def _stem(name: str) -> str:
    while (suffix := PurePath(name).suffix).lower() in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _ends_like_a_file(text: str) -> bool:
    return text.lower().endswith(_OF_FILES)


def _is_regular(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and _NAME.fullmatch(text) is not None


def _legal(text: str) -> str:
    """Return a name for a new model that looks like an illegal one."""
    parts = [_legal_part(part) for part in text[:1000].split("/")]
    found = [part for part in parts if part]
    name = "/".join(found) if len(found) == 2 else "-".join(found)
    while (cut := _trimmed(name)) != name:
        name = cut
    return name or "model"


def _legal_part(text: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    return re.sub(r"([.-])\1+", r"\1", kept).strip(".-")


def _trimmed(name: str) -> str:
    """Return a name without what it may not end in."""
    name = name[:_LONGEST_NAME].rstrip("./-")
    return next((name[: -len(suffix)] for suffix in _OF_FILES if name.lower().endswith(suffix)), name)
