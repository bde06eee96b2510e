"""What the words of a copy mean. Their spelling decides, never the disk. Pure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.client.address import ServerAddress, is_url
from registry.errors.copying import NoSuchUser, NotABundleName, NotAPlace, NotServed

SUFFIX = ".bundle"


@dataclass(frozen=True)
class Place:
    """Where versions go."""

    path: Path
    is_bundle: bool
    url: str | None = None
    """Of the server, where it is one."""

    @property
    def address(self) -> Path | str:
        """Of the home there."""
        return self.path if self.url is None else self.url


@dataclass(frozen=True)
class Wanted:
    """What is to be copied."""

    references: tuple[str, ...] = ()
    bundles: tuple[Path, ...] = ()


def place_of(given: str | os.PathLike[str]) -> Place:
    """Return the folder, the server or the bundle that a word names.

    Raises:
        InvalidAddress: it is a URL, but not that of a server.
        NotAPlace: it is a bare word, which could as well be a reference.
        NoSuchUser: it begins with '~', and there is no such home directory.
    """
    text = os.fspath(given)
    if isinstance(given, str) and is_url(text):
        return Place(Path(), False, ServerAddress.parse(text).url)
    if text.endswith(SUFFIX):
        return Place(_expanded(text), True)
    if isinstance(given, str) and "/" not in text and text not in (".", "..", "~"):
        raise NotAPlace(text)
    return Place(_expanded(text).absolute(), False)


def wanted(given: Sequence[str | os.PathLike[str]]) -> Wanted:
    """Tell the bundles among some words from the references.

    Raises:
        NotServed, NotABundleName, NoSuchUser: one is neither.
    """
    references: list[str] = []
    bundles: list[Path] = []
    for word in given:
        text = os.fspath(word)
        if isinstance(word, str) and is_url(text):
            raise NotServed(text)
        if text.endswith(SUFFIX):
            bundles.append(_expanded(text))
        elif not isinstance(word, str):
            raise NotABundleName(text)
        else:
            references.append(text)
    return Wanted(tuple(references), tuple(bundles))


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise NoSuchUser(text) from error
