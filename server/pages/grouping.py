"""Names of tensors by the modules that they are in."""

from __future__ import annotations

from collections.abc import Iterable

MOST = 40
"""Names of one group, as long as there is a module inside to part it by."""


def groups(names: Iterable[str], most: int = MOST) -> list[tuple[str, list[str]]]:
    """Gather names by modules: by those at the top, and where one has more than ``most``, by those inside of it.

    Returns:
        (path of the module, names), in the order of the first of each; the path is ``""`` for what is in no module.
    """
    return _parted("", list(names), most)


def _parted(path: str, names: list[str], most: int) -> list[tuple[str, list[str]]]:
    begin = len(path) + 1 if path else 0
    found: dict[str, list[str]] = {}
    for name in names:
        end = name.find(".", begin)
        found.setdefault(path if end < 0 else name[:end], []).append(name)
    if list(found) == [path]:
        return [(path, names)]
    parted: list[tuple[str, list[str]]] = []
    for inner, those in found.items():
        parted += _parted(inner, those, most) if inner != path and len(those) > most else [(inner, those)]
    return parted
