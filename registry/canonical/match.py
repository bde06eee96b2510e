"""The class as judge: the cuts under which the names of a file are exactly the names of a class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from registry.canonical.expectation import Expectation
from registry.canonical.tree import Node, grow
from registry.canonical.unwrap import PREFIX, Cut, Evidence
from registry.canonical.wrappers import row_for, shown_by_names

NodeCuts = tuple[tuple[Node, str], ...]
"""Nodes to cut and the wrapper that each is, outermost first."""


def match(names: Iterable[str], expectation: Expectation, declared: Sequence[str] = ()) -> tuple[Cut, ...] | None:
    """Return the fewest cuts that make the names equal to those of the class, or None if there are none.

    Both sets of names are walked as trees, together. At each node the children agree, or the node of the file has
    one child that a wrapper made and its subtree is tried instead. The renaming does not depend on which of several
    smallest plans is taken: where components of one name repeat, deleting either leaves the same name. Cutting
    further out is preferred, since people wrap whole models more often than parts.

    A dispensable name of the class (see ``Expectation``) may be absent, but one name of each tie has to be there.
    """
    file = grow(names)
    matcher = _Matcher(expectation, declared)
    plan = matcher.fit(file, grow(expectation.names), at_root=True)
    if plan is None:
        return None
    return cuts_of(plan, "class")


def fits(names: Iterable[str], expectation: Expectation, declared: Sequence[str] | None = None) -> bool:
    """Whether there are cuts that make the names those of the class."""
    return match(names, expectation, declared or ()) is not None


def cuts_of(plan: Iterable[tuple[Node, str]], evidence: Evidence) -> tuple[Cut, ...]:
    """Return the cuts at these nodes."""
    return tuple(Cut(node.dotted, wrapper, evidence, node.names) for node, wrapper in plan)


def unmet(names: Iterable[str], expectation: Expectation) -> tuple[list[str], list[str]]:
    """Return what is left over when canonical names meet the class: (missing in the file, extra in the file)."""
    have = set(names)
    tied = {name: group for group in expectation.ties for name in group}
    missing = [
        name
        for name in [*expectation.tensors, *sorted(expectation.values)]
        if name not in have
        and name not in expectation.defaults
        and not (name in tied and any(other in have for other in tied[name]))
    ]
    known = expectation.names
    return missing, [name for name in names if name not in known]


class _Matcher:
    def __init__(self, expectation: Expectation, declared: Sequence[str]) -> None:
        self._dispensable = expectation.dispensable
        self._declared = declared
        self._known: dict[tuple[Node, Node], NodeCuts | None] = {}

    def fit(self, file: Node, wanted: Node, *, at_root: bool) -> NodeCuts | None:
        """Return the smallest plan that turns the names below ``file`` into those below ``wanted``."""
        pair = (file, wanted)
        if pair not in self._known:
            plans = [self._cut(file, wanted, at_root), self._keep(file, wanted)]
            self._known[pair] = min((p for p in plans if p is not None), key=len, default=None)
        return self._known[pair]

    def _keep(self, file: Node, wanted: Node) -> NodeCuts | None:
        if file.is_name and not wanted.is_name:
            return None
        if wanted.is_name and not file.is_name and wanted.dotted not in self._dispensable:
            return None
        if not file.children.keys() <= wanted.children.keys():
            return None
        for component, child in wanted.children.items():
            if component not in file.children and not self._may_lack(child):
                return None
        plan: list[tuple[Node, str]] = []
        for component, child in file.children.items():
            below = self.fit(child, wanted.children[component], at_root=False)
            if below is None:
                return None
            plan += below
        return tuple(plan)

    def _cut(self, file: Node, wanted: Node, at_root: bool) -> NodeCuts | None:
        if file.is_name:
            return None
        best: NodeCuts | None = None
        for component, child, siblings in file.only_branches():
            row = row_for(component, siblings, self._declared)
            if row is None and not (at_root and not siblings):
                continue
            below = self.fit(child, wanted, at_root=at_root)
            if below is not None and (best is None or len(below) + 1 < len(best)):
                best = ((child, shown_by_names(row, self._declared) if row else PREFIX), *below)
        return best

    def _may_lack(self, wanted: Node) -> bool:
        return all(node.dotted in self._dispensable for node in wanted.walk() if node.is_name)
