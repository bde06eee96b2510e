"""What a copied version adds to the same version here: what is missing, and where the two differ. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Said:
    """What users said of a version."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Of its model, each with the reference that it points to."""


@dataclass(frozen=True)
class Difference:
    """Something that is said of a version here and there, and not the same."""

    what: str
    """``"metric acc"``, ``"tag task"``, ``"note"``, ``"alias best"``."""
    here: str
    there: str
    taken: bool
    """Whether it is now what it was there; otherwise what was here stays."""

    def __str__(self) -> str:
        if self.taken:
            return f"its {self.what} was {self.here}, and is now {self.there}"
        return f"its {self.what} stays {self.here}; it is {self.there} where it comes from"


@dataclass(frozen=True)
class Merge:
    """What is to be written."""

    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    note: str | None
    """The whole note, where it changes."""
    aliases: tuple[str, ...]
    """To be pointed to the version."""
    differences: tuple[Difference, ...]

    @property
    def added(self) -> tuple[str, ...]:
        """What is written, in words."""
        kinds = (("metric", self.metrics), ("tag", self.tags), ("alias", self.aliases))
        return (
            *(f"{kind} {key}" for kind, keys in kinds for key in keys),
            *(["note"] if self.note is not None else []),
        )

    @property
    def facts(self) -> bool:
        """Whether anything of the version itself changes; an alias is its model's."""
        return bool(self.metrics or self.tags or self.note is not None)


def merge(ref: str, here: Said, there: Said, *, update: bool) -> Merge:
    """Return what of ``there`` comes to ``here``: what is missing, and with ``update`` what differs.

    Args:
        ref: what the version is called here, where its aliases are to point.
        there: its aliases point to the version, wherever they say.
    """
    differences: list[Difference] = []

    def wanted(kind: str, ours: Mapping[str, object], theirs: Mapping[str, object]) -> list[str]:
        found = []
        for key, value in sorted(theirs.items()):
            if key in ours and ours[key] != value:
                differences.append(Difference(f"{kind} {key}".strip(), _word(ours[key]), _word(value), update))
            if key not in ours or (update and ours[key] != value):
                found.append(key)
        return found

    metrics = wanted("metric", here.metrics, there.metrics)
    tags = wanted("tag", here.tags, there.tags)
    aliases = wanted("alias", here.aliases, dict.fromkeys(there.aliases, ref))
    note = wanted("note", {"": here.note} if here.note else {}, {"": there.note} if there.note else {})
    return Merge(
        {key: there.metrics[key] for key in metrics},
        {key: there.tags[key] for key in tags},
        there.note if note else None,
        tuple(aliases),
        tuple(differences),
    )


def _word(value: object) -> str:
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"
