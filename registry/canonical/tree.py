"""The names of a state dict as a tree of path components."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from registry.canonical.wrappers import COMPONENTS
from registry.errors.canonical import NamesTooDeep

DEEPEST = 128
"""Components a name may have; the deepest published model seen has 23, and the tree is walked recursively."""


@dataclass(eq=False)
class Node:
    """One path: a module, a tensor, or (in odd dicts) both."""

    path: tuple[str, ...] = ()
    is_name: bool = False
    names: int = 0
    """Names at it and below."""
    children: dict[str, Node] = field(default_factory=dict)

    @property
    def dotted(self) -> str:
        return ".".join(self.path)

    @property
    def is_leaf(self) -> bool:
        return self.is_name and not self.children

    def only_branches(self) -> Iterator[tuple[str, Node, list[str]]]:
        """Yield the children beside which there are tensors alone, with the components of those.

        A wrapper's child is one of them. There is one at most where a child is a module; where all are tensors, only a
        child that could be a wrapper's by its component is asked for, so that a module of many tensors costs one look
        at each.
        """
        branches = [component for component, child in self.children.items() if not child.is_leaf]
        if len(branches) > 1:
            return
        for component in branches or [c for c in self.children if c in COMPONENTS or len(self.children) == 1]:
            yield component, self.children[component], [other for other in self.children if other != component]

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below, parents first."""
        yield self
        for child in self.children.values():
            yield from child.walk()


def grow(names: Iterable[str]) -> Node:
    """Return the tree of these names.

    Raises:
        NamesTooDeep: a name has more components than any model has.
    """
    root = Node()
    for name in names:
        components = name.split(".")
        if len(components) > DEEPEST:
            raise NamesTooDeep(name, DEEPEST)
        node = root
        node.names += 1
        for depth, component in enumerate(components, 1):
            child = node.children.get(component)
            if child is None:
                child = node.children[component] = Node(tuple(components[:depth]))
            child.names += 1
            node = child
        node.is_name = True
    return root
