"""Unwrapping: which components of the names in a file a wrapper inserted, and how that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, cast

from registry.tensors.paths import below

Evidence = Literal["class", "live", "declared", "assumed"]
"""How a cut is known, strongest first."""

PREFIX = "prefix"
"""The wrapper of a cut that no wrapper made: the attribute of a container (``model.``), proved by the class."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One path component that a wrapper inserted."""

    path: str
    """In the names of the file, up to and with the component: ``"module"``, ``"features.module"``."""
    wrapper: str
    """As in the table: ``"ddp"``, or ``"ddp or dp"`` where only names show it; ``"prefix"``: a container's."""
    evidence: Evidence
    names: int
    """How many names go through it."""

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(self.path.split("."))

    def __str__(self) -> str:
        *parent, component = self.components
        place = f"under `{'.'.join(parent)}`" if parent else "at the root"
        return f"`{component}` {place} ({self.wrapper}, {self.evidence}): {self.names} names"


@dataclass(frozen=True)
class Unwrapping:
    """The cuts that lead from the names in the file to the canonical ones, and back."""

    cuts: tuple[Cut, ...] = ()
    """Outermost first."""
    doubts: tuple[str, ...] = ()
    """Paths in the file that could have been cut too, and were kept because nothing decided."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """In versions of the first schema, what belongs to the wrappers: the name in the file to the encoded value."""
    outside: tuple[str, ...] = ()
    """Names of plain values that stand beside the wrapped names and were never wrapped."""
    absent: tuple[str, ...] = ()
    """Canonical names that the file did not have, because they are tied to one that it had."""
    set_aside: tuple[str, ...] = ()
    """Names in the file of what belongs to the wrappers (``n_averaged``), in the order of the manifest's values."""
    single: bool = False
    """Whether it was declared that nothing wrapped the model, so that no class takes a component out later."""

    @cached_property
    def _cut_paths(self) -> frozenset[tuple[str, ...]]:
        return frozenset(cut.components for cut in self.cuts)

    @cached_property
    def _outside(self) -> frozenset[str]:
        return frozenset(self.outside)

    @cached_property
    def _insertions(self) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """Canonical parent to the components that go below it, outermost first."""
        insertions: dict[tuple[str, ...], tuple[str, ...]] = {}
        for path in sorted(self._cut_paths, key=len):
            parent = self._bare(path[:-1])
            insertions[parent] = (*insertions.get(parent, ()), path[-1])
        return insertions

    def _bare(self, path: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(c for depth, c in enumerate(path, 1) if path[:depth] not in self._cut_paths)

    def bare(self, name: str) -> str:
        """Return the canonical form of a name (or module path) in the file."""
        if not self.cuts or name in self._outside:
            return name
        return ".".join(self._bare(tuple(name.split("."))))

    def wrapped(self, name: str) -> str:
        """Return the name in the file of a canonical name (or module path)."""
        if not self.cuts or name in self._outside:
            return name
        path = tuple(name.split(".")) if name else ()
        wrapped = list(self._insertions.get((), ()))
        for depth, component in enumerate(path, 1):
            wrapped.append(component)
            if depth < len(path):
                wrapped.extend(self._insertions.get(path[:depth], ()))
        return ".".join(wrapped)

    def below(self, part: str, own: Sequence[bool] = ()) -> Unwrapping:
        """Return the cuts inside of one part of the model, as its own names have them.

        Args:
            part: its canonical path.
            own: of what is set aside, whether it belongs to a wrapper in the part.
        """
        at = self.wrapped(part)
        place = f"{at}."
        return Unwrapping(
            tuple(replace(cut, path=cut.path[len(place) :]) for cut in self.cuts if cut.path.startswith(place)),
            tuple(below(at, self.doubts).values()),
            outside=tuple(below(at, self.outside).values()),
            absent=tuple(below(part, self.absent).values()),
            set_aside=tuple(name[len(place) :] for name, is_own in zip(self.set_aside, own, strict=False) if is_own),
        )

    def under(self, part: str) -> Unwrapping:
        """Return the same cuts where the model is a part of another one, at a path that nothing wraps."""
        place = f"{part}."
        return Unwrapping(
            tuple(replace(cut, path=place + cut.path) for cut in self.cuts),
            tuple(place + path for path in self.doubts),
            outside=tuple(place + name for name in self.outside),
            absent=tuple(place + name for name in self.absent),
            set_aside=tuple(place + name for name in self.set_aside),
        )

    @property
    def stack(self) -> tuple[str, ...]:
        """Names of the wrappers met, outermost first, each level at the root once and inner ones once."""
        stack: list[str] = []
        at_root: tuple[str, ...] = ()
        for cut in self.cuts:
            if cut.wrapper == PREFIX:
                at_root = cut.components
            elif cut.components[:-1] == at_root:
                stack.append(cut.wrapper)
                at_root = cut.components
            elif cut.wrapper not in stack:
                stack.append(cut.wrapper)
        return tuple(stack)

    @property
    def evidence(self) -> Evidence | None:
        """The weakest evidence that it rests on; None where nothing was cut."""
        order: tuple[Evidence, ...] = ("assumed", "declared", "live", "class")
        return next((e for e in order if any(cut.evidence == e for cut in self.cuts)), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "cuts": [[cut.path, cut.wrapper, cut.evidence, cut.names] for cut in self.cuts],
            "doubts": list(self.doubts),
            "own": dict(self.own),
            "outside": list(self.outside),
            "absent": list(self.absent),
            # Left out where there is none, so that the records of older versions keep their digest.
            **({"set_aside": list(self.set_aside)} if self.set_aside else {}),
            **({"single": True} if self.single else {}),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Unwrapping:
        return cls(
            cuts=tuple(Cut(path, wrapper, cast(Evidence, e), names) for path, wrapper, e, names in raw["cuts"]),
            doubts=tuple(raw["doubts"]),
            own=raw["own"],
            outside=tuple(raw["outside"]),
            absent=tuple(raw["absent"]),
            set_aside=tuple(raw.get("set_aside", ())),
            single=raw.get("single") is True,
        )
