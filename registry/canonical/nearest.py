"""The reading of a file's names that comes nearest to a model's own, where they need not agree."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence

from registry.canonical.assume import assume
from registry.canonical.expectation import Expectation
from registry.canonical.match import match, unmet
from registry.canonical.owned import owners_beside
from registry.canonical.tree import Node, grow
from registry.canonical.unwrap import PREFIX, Cut, Unwrapping
from registry.errors.root import RegistryError
from registry.tensors.wrapper_value import Owner


def nearest(names: Sequence[str], expectation: Expectation, modules: Collection[str] = ()) -> Unwrapping:
    """Return the cuts under which names are those of a model, or leave the fewest over on both sides.

    Nothing is stored under the names that it gives: it only decides what is compared with what.

    Args:
        modules: module paths of the state dict's ``_metadata``.
    """
    cuts = match(names, expectation)
    if cuts is not None:
        return Unwrapping(cuts)
    return min(_readings(names, modules), key=lambda reading: leftover(names, reading, expectation))


def leftover(names: Sequence[str], reading: Unwrapping, expectation: Expectation) -> int:
    """Return how many names a reading leaves without a counterpart, in the file and in the model."""
    aside = owners(reading, names)
    canonical = [reading.bare(name) for name in names if name not in aside]
    missing, extra = unmet(canonical, expectation)
    return len(missing) + len(extra) + len(canonical) - len(set(canonical))


def owners(reading: Unwrapping, names: Sequence[str]) -> dict[str, Owner]:
    """Return the names that belong to the wrappers and not to the model (``n_averaged``), with the wrapper of each."""
    return owners_beside([cut for cut in reading.cuts if cut.wrapper != PREFIX], names)


def _readings(names: Sequence[str], modules: Collection[str]) -> Iterator[Unwrapping]:
    yield Unwrapping()
    tree = grow(names)
    with contextlib.suppress(RegistryError):  # a mixture: it allows no reading that is stored
        yield Unwrapping(assume("", tree, None, modules)[0])
    for child in tree.children.values():
        if not child.is_leaf:
            yield Unwrapping((_attribute(child),))


def _attribute(node: Node) -> Cut:
    """Return the cut of a container's attribute, such as ``model`` of a LightningModule that has losses beside it."""
    return Cut(node.dotted, PREFIX, "assumed", node.names)
