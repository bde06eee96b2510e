"""What models are called that come out of a folder: after the folder that their files share, else a file. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from registry.reference import CHECKPOINT_SUFFIXES

_LONGEST = 96
_NO_NAMES = (*CHECKPOINT_SUFFIXES, ".index", ".json", ".bundle")


@dataclass(frozen=True)
class Member:
    """A checkpoint of a model."""

    path: str
    """From the folder that is imported, with ``/``; ``"."`` is that folder itself."""
    is_folder: bool = False
    source_uri: str | None = None


def named(models: Sequence[Sequence[Member]], folder: str, is_free: Callable[[int, str], bool]) -> tuple[str, ...]:
    """Return a name for each model, all of them different and legal.

    Args:
        models: the members of each, the oldest first.
        folder: what the folder that is imported is called.
        is_free: whether the model with a number may have a name.
    """
    shared = [tuple(_shared([PurePosixPath(member.path) for member in members])) for members in models]
    proposals = [
        _proposals(members, [folder, *own], is_alone=shared.count(own) == 1)
        for members, own in zip(models, shared, strict=True)
    ]
    names: list[str] = []
    for number, own in enumerate(proposals):
        others = {name for other, theirs in enumerate(proposals) if other != number for name in theirs}
        # What tells it from all the others, else what nobody took before it.
        for name in (*(name for name in own if name not in others), *own):
            if name not in names and is_free(number, name):
                names.append(name)
                break
        else:
            name, count = own[-1][: _LONGEST - 7], 2
            while f"{name}-{count}" in names or not is_free(number, f"{name}-{count}"):
                count += 1
            names.append(f"{name}-{count}")
    return tuple(names)


def legal(text: str) -> str:
    """Return a legal name that looks like a text; empty where nothing of it can stand in one."""
    text = _without_suffixes(text)
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    text = re.sub(r"-{2,}", "-", re.sub(r"\.{2,}", ".", text))[:_LONGEST]
    while (shorter := _without_suffixes(text.strip(".-"))) != text:
        text = shorter
    return text


def _proposals(members: Sequence[Member], owners: Sequence[str], *, is_alone: bool) -> list[str]:
    """Return names for a model, the best first.

    Args:
        owners: the folders that its files share, the outermost first.
        is_alone: whether no other model's files share just these.
    """
    first = members[0]
    stems = [_stem(member, owners[0]) for member in members]
    file, beginning = stems[0], _beginning(stems)
    repository = first.source_uri.partition(":")[2].partition("@")[0] if first.source_uri is not None else ""
    if repository:
        whole = repository.replace("/", "-")
        found = [repository.rpartition("/")[2], whole, f"{whole}-{file}"]
    elif len(members) > 1:
        found = [owners[-1], beginning] if is_alone else [beginning, file, f"{owners[-1]}-{beginning}"]
    else:
        found = [file]
    found += ["-".join([*owners[depth:], file]) for depth in range(len(owners) - 1, -1, -1)]
    return list(dict.fromkeys(name for name in map(legal, found) if name)) or ["model"]


def _shared(places: Sequence[PurePosixPath]) -> list[str]:
    """Return the folders on the way to the deepest one that has all files in it."""
    shared: list[str] = []
    for steps in zip(*(place.parts[:-1] for place in places), strict=False):
        if len(set(steps)) > 1:
            break
        shared.append(steps[0])
    return shared


def _stem(member: Member, folder: str) -> str:
    name = PurePosixPath(member.path).name or folder
    return name if member.is_folder else _without_suffixes(name)


def _beginning(stems: Sequence[str]) -> str:
    """Return the whole words that some names begin with: ``pointnet`` of ``pointnet_ddp`` and ``pointnet_ema``."""
    common = ""
    for words in zip(*(re.findall(r"[A-Za-z0-9]+|[^A-Za-z0-9]+", stem) for stem in stems), strict=False):
        if len(set(words)) > 1:
            break
        common += words[0]
    return re.sub(r"[^A-Za-z0-9]+$", "", common)


def _without_suffixes(text: str) -> str:
    while text.lower().endswith(_NO_NAMES):
        text = text[: text.rindex(".")]
    return text
