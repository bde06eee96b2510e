"""Names below a path: those of a part of a model, in the whole and in the part itself."""

from __future__ import annotations

from collections.abc import Iterable


def is_part_name(name: object) -> bool:
    """Whether a part may be called so: it is one component of a name."""
    return isinstance(name, str) and bool(name) and "." not in name and is_unicode(name)


def may_name_part(name: object) -> bool:
    """Whether a new part may be called so: under ``training`` every module says whether it is in training."""
    return is_part_name(name) and name != "training"


def is_unicode(text: str) -> bool:
    """Whether a text can be written: lone surrogates cannot."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def below(part: str, names: Iterable[str]) -> dict[str, str]:
    """Return the names of a part: as the whole has them, to what they are in the part itself."""
    return {name: name[len(part) + 1 :] for name in names if name.startswith(f"{part}.")}


def path_below(part: str, path: str) -> str | None:
    """Return what the path of a module is in the part itself, or None where it is not in that."""
    return "" if path == part else path[len(part) + 1 :] if path.startswith(f"{part}.") else None
