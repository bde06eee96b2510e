"""The root of the error tree: the words that all messages share, and how an error travels to another process."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any


def shown(text: str, *, keep_lines: bool = False) -> str:
    """Return a text that comes from users or files with everything escaped that could act on a terminal.

    That is what is not printable: control characters, line feeds, overrides of the writing direction.
    """
    if text.isprintable():
        return text
    kept = "\n" if keep_lines else ""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def few(items: Sequence[object], limit: int = 8) -> str:
    """Word a list by its first items: ``a, b and 5 more``."""
    first = ", ".join(map(str, items[:limit]))
    return f"{first} and {len(items) - limit} more" if len(items) > limit else first


def size(nbytes: int) -> str:
    """Word a number of bytes: ``1.3 GiB``."""
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{nbytes} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


class RegistryError(Exception):
    """The root of every error that a user can cause or meet.

    The message is one paragraph: what is wrong, then what to do about it. Names in it come from files, so it is escaped
    here, for all: a line feed in one would otherwise begin a line that looks like one of ours.

    Between processes an error travels as its ``code`` and its ``fields``, from which ``rebuild`` makes it again, and so
    it can be pickled.
    """

    code = "registry-error"
    """Stable name of the class in JSON: ``"unknown-version"``."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__).lower()

    def __new__(cls, *arguments: Any, **named: Any) -> RegistryError:
        error = super().__new__(cls, *arguments)
        error._given = arguments, named
        return error

    def __init__(self, message: str = "", *, snippet: str = "") -> None:
        """Word it.

        Args:
            message: one paragraph.
            snippet: lines to run, below it; names in them are quoted as Python quotes them.
        """
        super().__init__(shown(message) + shown(snippet, keep_lines=True))

    _given: tuple[tuple[Any, ...], dict[str, Any]]

    def fields(self) -> dict[str, Any]:
        """Return the facts that the error was made of, as plain JSON values by the names of the constructor."""
        arguments, named = self._given
        bound = inspect.signature(type(self).__init__).bind(self, *arguments, **named)
        return {name: _plain(value) for name, value in list(bound.arguments.items())[1:]}

    def document(self) -> dict[str, Any]:
        """Return ``{"code", "message", "fields"}``, which is what JSON says of an error everywhere."""
        return {"code": self.code, "message": str(self), "fields": self.fields()}

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (self.code, self.fields())


def rebuild(code: str, fields: Mapping[str, Any]) -> RegistryError:
    """Return the error that another process raised.

    Raises:
        KeyError: no class has this code.
        TypeError: the fields are not those of the class.
    """
    return {kind.code: kind for kind in _family(RegistryError)}[code](**fields)


def _family(kind: type[RegistryError]) -> Iterator[type[RegistryError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


def _plain(value: object) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, Set)):
        return [_plain(part) for part in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
