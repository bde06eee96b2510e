"""A part of a version: one of several models that were trained and pushed together, below a name of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from registry.tensors.arguments import Arguments
from registry.tensors.paths import is_part_name


class Part(NamedTuple):
    """One of the models of a version."""

    part: str
    """What it is called, and the first component of its names: ``"img"``."""
    model_class: str | None = None
    """``"pkg.mod:Class"``, where that is known."""
    init: Mapping[str, Any] | None = None
    """What the class is constructed with, by name; None where nobody said."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a column and a record hold it: its constructor arguments as ``Arguments`` has them."""
        init = None if self.init is None else Arguments.of(self.init, self.model_class or self.part).raw
        return {"part": self.part, "class": self.model_class, "init": init}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Part:
        """Read it back.

        Raises:
            ValueError, TypeError, KeyError: somebody edited it.
        """
        part, kind, init = raw["part"], raw["class"], raw["init"]
        if not is_part_name(part) or not isinstance(kind, str | None) or not isinstance(init, dict | None):
            raise ValueError("it is not a part of a version")
        return cls(part, kind, None if init is None else Arguments(init))

    def is_said_by(self, held: Part) -> bool:
        """Whether another, of a version, says all that this one says; without a class, arguments say nothing."""
        one, other = self.to_json(), held.to_json()
        return self.model_class is None or all(value is None or value == other[key] for key, value in one.items())


def are_said_by(parts: Sequence[Part], held: Iterable[Part]) -> bool:
    """Whether a version's parts are all that a push says of its parts; one that says nothing of parts is content."""
    by_name = {each.part: each for each in held}
    return not parts or (
        by_name.keys() == {each.part for each in parts} and all(p.is_said_by(by_name[p.part]) for p in parts)
    )
