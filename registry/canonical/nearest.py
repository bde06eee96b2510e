"""The reading of a file's names that comes nearest to a model's own, where they need not agree."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase

from registry.canonical.assume import assume
from registry.canonical.expectation import Expectation
from registry.canonical.match import cuts_of, match, unmet
from registry.canonical.owned import owners_beside
from registry.canonical.tree import Node, grow
from registry.canonical.unwrap import PREFIX, Cut, Unwrapping
from registry.canonical.wrappers import WRAPPERS
from registry.errors.root import RegistryError
from registry.tensors.wrapper_value import Owner

_MOST_ATTRIBUTES = 8
"""Attributes of a container that may be the model; the largest, or else each of many would be tried on all names."""


def nearest(names: Sequence[str], expectation: Expectation, modules: Collection[str] = ()) -> Unwrapping:
    """Return the cuts under which names are those of a model, or leave the fewest over on both sides.

    Nothing is stored under the names that it gives: it only decides what is compared with what.

    Args:
        modules: module paths of the state dict's ``_metadata``.
    """
    cuts = match(names, expectation)
    if cuts is not None:
        return Unwrapping(cuts)
    found = readings(names, None, modules)
    return min(found, key=lambda reading: (leftover(names, reading, expectation), len(reading.cuts)))


def leftover(names: Sequence[str], reading: Unwrapping, expectation: Expectation) -> int:
    """Return how many names a reading leaves without a counterpart, in the file and in the model."""
    aside = owners(reading, names)
    canonical = [reading.bare(name) for name in names if name not in aside]
    missing, extra = unmet(canonical, expectation)
    return len(missing) + len(extra) + len(canonical) - len(set(canonical))


def owners(reading: Unwrapping, names: Sequence[str]) -> dict[str, Owner]:
    """Return the names that belong to the wrappers and not to the model (``n_averaged``), with the wrapper of each."""
    return owners_beside([cut for cut in reading.cuts if cut.wrapper != PREFIX], names)


def unexpected(
    names: Sequence[str], expectation: Expectation, modules: Collection[str], patterns: Sequence[str]
) -> list[str]:
    """Return the names in a file that nothing of the class is, and that one of the patterns allows to be left out."""
    reading, known = nearest(names, expectation, modules), expectation.names
    aside = owners(reading, names)
    extra = [name for name in names if name not in aside and reading.bare(name) not in known]
    return [n for n in extra if any(fnmatchcase(n, p) or fnmatchcase(reading.bare(n), p) for p in patterns)]


def readings(names: Sequence[str], declared: Sequence[str] | None, modules: Collection[str]) -> Iterator[Unwrapping]:
    """Yield what the names of a file may become, the likeliest first: wrappers stripped, as it is, an attribute less.

    Args:
        declared: the declared stack of wrappers; None where nothing was declared.
        modules: module paths of the state dict's ``_metadata``.
    """
    tree = grow(names)
    with contextlib.suppress(RegistryError):  # a mixture: it allows no reading that is stored
        cuts, doubts = assume("", tree, declared, modules)
        if cuts:
            yield Unwrapping(cuts)
        doubted = set(doubts)
        if inner := [node for node in tree.walk() if node.dotted in doubted]:
            rows = [next(row for row in WRAPPERS if row.component == node.path[-1]) for node in inner]
            yield Unwrapping((*cuts, *cuts_of(zip(inner, (row.name for row in rows), strict=True), "assumed")))
    yield Unwrapping()
    modules_inside = [child for child in tree.children.values() if not child.is_leaf]
    for child in sorted(modules_inside, key=lambda child: -child.names)[:_MOST_ATTRIBUTES]:
        yield Unwrapping((_attribute(child),))


def _attribute(node: Node) -> Cut:
    """Return the cut of a container's attribute, such as ``model`` of a LightningModule that has losses beside it."""
    return Cut(node.dotted, PREFIX, "assumed", node.names)
