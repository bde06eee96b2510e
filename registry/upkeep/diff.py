"""What differs between two versions, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from registry.catalog.entry import Entry
from registry.home.home import Home
from registry.notebook import called, html_table
from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.manifest import Manifest, StoredTensor
from registry.tensors.spec import TensorSpec
from registry.tensors.statistics import ELEMENTS, Distance, distance

Apart = Callable[[str, StoredTensor, StoredTensor], Distance]


@dataclass(frozen=True)
class TensorChange:
    """One tensor that both versions have and that is not equal."""

    name: str
    before: TensorSpec
    after: TensorSpec
    norm: float | None
    """L2 norm of the difference; None where the shapes differ."""
    relative: float | None
    """That norm over the L2 norm of the tensor before; None where that is zero or the shapes differ."""
    largest: float | None
    """Largest absolute difference of one element."""


@dataclass(frozen=True)
class Difference:
    """What leads from version ``a`` to version ``b``."""

    a: str
    b: str
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    changed: tuple[TensorChange, ...]
    equal: int
    """Tensors that are the same in both, bit for bit."""

    def __repr__(self) -> str:
        return called(self, self._title())

    def _repr_html_(self) -> str:
        lone = {self.a: self.only_a, self.b: self.only_b}
        rows = [(name, f"only in {ref}", "", "", "") for ref, names in lone.items() for name in names]
        for each in self.changed:
            kind = str(each.before) if each.before == each.after else f"{each.before} -> {each.after}"
            norm, relative, largest = (
                "" if figure is None else f"{figure:.4g}" for figure in (each.norm, each.relative, each.largest)
            )
            rows.append((each.name, kind, norm, relative, largest))
        return html_table(self._title(), ("tensor", "type", "norm", "relative", "largest"), rows)

    def _title(self) -> str:
        lone = len(self.only_a) + len(self.only_b)
        apart = f", {lone} in one alone" if lone else ""
        return f"{self.a} to {self.b}: {len(self.changed)} different, {self.equal} equal{apart}"


def diff(home: Home, a: str, b: str) -> Difference:
    """Compare two versions; tensors that are equal by their digests are not read.

    Raises:
        RegistryError: there is no such version, or its bytes are not what was stored.
    """
    first, second = home.resolve(a), home.resolve(b)
    before, after = home.manifest(first), home.manifest(second)

    def content(entry: Entry, name: str, stored: StoredTensor) -> tuple[Iterator[memoryview], str]:
        step = ELEMENTS * ITEM_SIZES[stored.spec.dtype]
        return home.pieces(entry, name, stored, step), stored.spec.dtype

    def apart(name: str, old: StoredTensor, new: StoredTensor) -> Distance:
        return distance(content(first, name, old), content(second, name, new))

    return compare((first.ref, before), (second.ref, after), apart)


def changed_names(a: Manifest, b: Manifest) -> list[str]:
    """Return the names that both have with different digests; no tensor is read for this."""
    return [name for name, tensor in a.tensors.items() if name in b.tensors and tensor.digest != b.tensors[name].digest]


def compare(a: tuple[str, Manifest], b: tuple[str, Manifest], apart: Apart) -> Difference:
    """Compare two manifests; ``apart`` measures a changed tensor of one shape, by its name, before and after."""
    (a_ref, before), (b_ref, after) = a, b
    changed = [_change(name, before.tensors[name], after.tensors[name], apart) for name in changed_names(before, after)]
    return Difference(
        a=a_ref,
        b=b_ref,
        only_a=tuple(name for name in before.tensors if name not in after.tensors),
        only_b=tuple(name for name in after.tensors if name not in before.tensors),
        changed=tuple(changed),
        equal=sum(name in after.tensors for name in before.tensors) - len(changed),
    )


def _change(name: str, old: StoredTensor, new: StoredTensor, apart: Apart) -> TensorChange:
    if old.spec.shape != new.spec.shape:
        return TensorChange(name, old.spec, new.spec, None, None, None)
    found = apart(name, old, new)
    relative = found.norm / found.base if found.base else None
    return TensorChange(name, old.spec, new.spec, found.norm, relative, found.largest)
