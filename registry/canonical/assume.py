"""Without a class: what the structure of the names, and the user's declaration, allow to be cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from registry.canonical.match import cuts_of
from registry.canonical.tree import Node
from registry.canonical.unwrap import Cut
from registry.canonical.wrappers import COMPONENTS, WRAPPERS, Wrapper, format_stack, row_for, shown_by_names
from registry.errors.canonical import MixedNames, WrongDeclaration

RESERVED = frozenset(row.component for row in WRAPPERS if row.reserved)


def assume(
    source: str, tree: Node, declared: Sequence[str] | None, modules: Collection[str] = ()
) -> tuple[tuple[Cut, ...], tuple[str, ...]]:
    """Return the cuts that can be taken without a class, and the paths that stay in doubt.

    Args:
        source: the file, for errors.
        tree: its names.
        declared: the declared stack of wrappers; empty for ``single``, None where nothing was declared.
        modules: module paths of the state dict's ``_metadata``; they can refute a cut, since a wrapper has one child.

    Raises:
        MixedNames: some names of one model go through a wrapper's component and others do not.
        WrongDeclaration: all names go through a component that the declared wrappers do not write.
    """
    return _Assumption(source, declared, modules).read(tree)


class _Assumption:
    def __init__(self, source: str, declared: Sequence[str] | None, modules: Collection[str]) -> None:
        self.source = source
        self.declared = declared
        self.unmet = list(declared or ())
        self.parents = _children_by_parent(modules)
        # How often a component that an honest module may bear too can be cut: as often as it was declared, or once
        # if nothing was. `module.module.x` with nothing to decide it is never cut twice.
        self.budget = Counter(
            next(row.component for row in WRAPPERS if row.name == name) for name in self.declared or ()
        )
        if declared != ():
            for component in COMPONENTS - RESERVED:
                if component != "module" or not declared:
                    self.budget[component] = max(1, self.budget[component])
        self.doubts: list[str] = []

    def read(self, root: Node) -> tuple[tuple[Cut, ...], tuple[str, ...]]:
        node = root
        cuts: list[Cut] = []
        while (found := self._leading(node)) is not None:
            child, row = found
            wrapper = shown_by_names(row, self.declared or ())
            cuts += cuts_of([(child, wrapper)], "declared" if row.name in (self.declared or ()) else "assumed")
            self.unmet = self.unmet[1:] if row.name in self.unmet else self.unmet
            node = child
        self._check_mixture(node, self.budget)
        for child in node.children.values():
            cuts += self._inside(child, dict(self.budget))
        left, _ = self._single_child(node)
        doubts = [left.dotted, *self.doubts] if left is not None else self.doubts
        return tuple(cuts), tuple(dict.fromkeys(doubts)) if self.declared != () else ()

    def _leading(self, node: Node) -> tuple[Node, Wrapper] | None:
        """Return the child that a wrapper of the whole model made, if the node shows one that may be cut."""
        child, row = self._single_child(node)
        if child is None or row is None:
            return None
        if row.reserved or row.own:
            # FSDP2's and AveragedModel's own names prove themselves, whatever was declared beside them.
            self.budget[row.component] -= row.name in (self.declared or ())
            return child, row
        if self.budget[row.component] > 0:
            self.budget[row.component] -= 1
            return child, row
        if self.declared and row.component not in self._declared_components():
            flag = f"--from '{format_stack([row.name, *self.declared])}'"
            raise WrongDeclaration(
                self.source, format_stack(self.declared), shown_by_names(row, ()), child.dotted, flag
            )
        return None

    def _inside(self, node: Node, budget: dict[str, int]) -> list[Cut]:
        """Return the cuts at and below a node inside the model; ``budget`` is what the path to it has left."""
        child, row = self._single_child(node)
        if child is not None and row is not None:
            if row.reserved:
                return [*cuts_of([(child, row.name)], "assumed"), *self._inside(child, budget)]
            if self.declared and row.component in self._declared_components() and budget[row.component] > 0:
                left = {**budget, row.component: budget[row.component] - 1}
                return [*cuts_of([(child, row.name)], "declared"), *self._inside(child, left)]
            self.doubts.append(child.dotted)
        self._check_mixture(node, budget if self.declared else {})
        return [cut for below in node.children.values() for cut in self._inside(below, budget)]

    def _single_child(self, node: Node) -> tuple[Node | None, Wrapper | None]:
        """Return the wrapper's child at a node through which every name below it goes, and the wrapper's row.

        A name that ends with the component would have none left without it: no wrapper wrote that.
        """
        if node.is_name:
            return None, None
        for component, child, siblings in node.only_branches():
            if component not in COMPONENTS or _is_named(child):
                continue
            row = row_for(component, siblings, self.unmet or self.declared or ())
            if row is not None and not self._refuted(node, component):
                return child, row
        return None, None

    def _refuted(self, node: Node, component: str) -> bool:
        """Whether ``_metadata`` shows another child module, one without tensors, beside the component."""
        path = tuple(c for c in node.path if c not in RESERVED)
        return component not in RESERVED and bool(self.parents.get(path, set()) - {component})

    def _check_mixture(self, node: Node, budget: Mapping[str, int]) -> None:
        """Refuse names of one model of which only some go through a component that could still be cut here.

        Where a module of that name could have all of them, they are kept, and the component is in doubt.
        """
        if self.declared == ():
            return
        for component in sorted(COMPONENTS & node.children.keys()):
            if component not in RESERVED and budget.get(component, 0) <= 0:
                continue
            child = node.children[component]
            beside = {name: other for name, other in node.children.items() if name != component}
            both = child.children.keys() & beside.keys()
            if both:
                inside = [n.dotted for name in both for n in child.children[name].walk() if n.is_name]
                others = [n.dotted for other in beside.values() for n in other.walk() if n.is_name]
                raise MixedNames(self.source, child.dotted, inside, others)
            if child.is_leaf or self._refuted(node, component):
                continue
            is_a_wrappers = component in RESERVED or component in self._declared_components()
            if _is_named(child) or (beside and is_a_wrappers):
                self.doubts.append(child.dotted)

    def _declared_components(self) -> set[str]:
        return {row.component for row in WRAPPERS if row.name in (self.declared or ())}


def _is_named(node: Node) -> bool:
    """Whether a name ends with the component of a node, in front of a last dot or not."""
    return node.is_name or ("" in node.children and node.children[""].is_name)


def _children_by_parent(modules: Iterable[str]) -> dict[tuple[str, ...], set[str]]:
    """Module paths as parent to children, without the components that torch's hooks strip from names but not here."""
    parents: dict[tuple[str, ...], set[str]] = {}
    for module in modules:
        path = tuple(c for c in module.split(".") if c and c not in RESERVED)
        if path:
            parents.setdefault(path[:-1], set()).add(path[-1])
    return parents
