"""What is to be done with a folder: which files are known, which are one model, and what each is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from registry.catalog.rows import Source
from registry.errors.catalog import FormerName
from registry.errors.importing import MixedModels, OtherModel
from registry.errors.root import RegistryError
from registry.home.home import Home
from registry.importing.names import Member, named
from registry.importing.recognition import Recognized, Shapes, refused, signature_of, source_digest
from registry.importing.survey import natural

_MOST_NAMED = 60


@dataclass(frozen=True)
class Step:
    """What is to be done with one thing that was found."""

    found: Recognized
    name: str | None = None
    """The model's, of what is or becomes a version."""
    known: Source | None = None
    """The version that was pushed from it."""

    @property
    def is_push(self) -> bool:
        """Whether it is to be pushed."""
        return self.found.verdict == "new" and self.known is None


def plan(
    home: Home, folder: Path, found: Sequence[Recognized], name: str | None, progress: Callable[[int], object]
) -> tuple[Step, ...]:
    """Return what to do, model by model, the oldest file of each first, and then what is nothing to push.

    Args:
        name: of the model that all of it is to become.
        progress: called with the bytes of each checkpoint that is known already.

    Raises:
        MixedModels, OtherModel: it cannot become one model of this name.
    """
    steps = _known(home, [Step(line) for line in found], name, progress)
    models: dict[str, list[Step]] = {}
    for step in steps:
        if step.found.verdict == "new":
            models.setdefault(step.found.signature, []).append(step)
    for members in models.values():
        members.sort(key=lambda step: (step.found.modified, natural(step.found.path)))
    models = dict(sorted(models.items(), key=lambda item: natural(item[1][0].found.path)))
    names = _names(home, folder, list(models.values())) if name is None else _one(home, name, models)
    planned = [
        replace(step, name=step.known.name if step.known is not None else called)
        for called, members in zip(names, models.values(), strict=True)
        for step in members
    ]
    return (*planned, *(step for step in steps if step.found.verdict != "new"))


def _known(home: Home, steps: Sequence[Step], name: str | None, progress: Callable[[int], object]) -> list[Step]:
    """Find what was pushed before. Files are hashed only where a version has as many tensors."""
    sources: dict[str, Source] = {}
    for source in home.catalog.sources() if home.is_made else ():
        if name is None or source.name == name:
            there = sources.get(source.source_digest)
            if there is None or there.trashed_at is not None:  # one outside the trash counts
                sources[source.source_digest] = source
    counts = {source.tensor_count for source in sources.values()}
    result = []
    for step in steps:
        found = step.found
        if found.verdict == "new" and len(found.shapes) in counts:
            try:
                step = replace(step, known=sources.get(source_digest(found) or ""))
            except RegistryError as error:
                step = Step(refused(found, error))
        if step.known is not None:
            progress(found.byte_count)
        result.append(step)
    return result


def _names(home: Home, folder: Path, models: Sequence[Sequence[Step]]) -> list[str]:
    """Return a name for each model: the one that it has already, or a new one."""
    own = [next((step.known.name for step in steps if step.known is not None), None) for steps in models]
    taken = {name for name in own if name is not None}
    signatures: dict[str, str | None] = {}

    def is_free(number: int, name: str) -> bool:
        if name not in signatures:
            signatures[name] = _signature(home, name)
        return name not in taken and signatures[name] in (None, fresh[number][0].found.signature)

    fresh = [steps for name, steps in zip(own, models, strict=True) if name is None]
    members = [
        [Member(step.found.path, step.found.place.is_dir(), step.found.source_uri) for step in steps] for steps in fresh
    ]
    new = iter(named(members, folder.resolve().name, is_free))
    return [name if name is not None else next(new) for name in own]


def _signature(home: Home, name: str) -> str | None:
    """Return the signature of a model's newest version, None of no model, an empty text where it cannot be told.

    Raises:
        RegistryError: of no name could it be told, as of a server that is not there or for which there is no token.
    """
    try:
        if not home.is_made or not home.catalog.knows(name):
            return None
    except FormerName:
        return ""
    try:
        return signature_of(_shapes(home, name)[1])
    except RegistryError:
        return ""


def _shapes(home: Home, name: str) -> tuple[str, Shapes]:
    entry = home.catalog.resolve(name)
    return entry.ref, {key: stored.spec.shape for key, stored in home.manifest(entry).tensors.items()}


def _one(home: Home, name: str, models: Mapping[str, Sequence[Step]]) -> list[str]:
    """Return the given name for the one model that there is.

    Raises:
        MixedModels, OtherModel: there are several, or the name has another.
    """
    fresh = {signature: steps for signature, steps in models.items() if any(step.is_push for step in steps)}
    firsts = [next(step.found for step in steps if step.is_push) for steps in fresh.values()]
    if len(firsts) > 1:
        one, other = firsts[:2]
        raise MixedModels(name, one.path, other.path, difference(one.shapes, other.shapes), len(firsts))
    if firsts and home.is_made and home.catalog.count(name):
        ref, shapes = _shapes(home, name)
        if signature_of(shapes) != firsts[0].signature:
            raise OtherModel(name, ref, firsts[0].path, difference(shapes, firsts[0].shapes))
    return [name] * len(models)


def difference(one: Shapes, other: Shapes) -> str:
    """Word the first thing in which two models differ."""
    for key in one:
        if key not in other:
            return f"'{key[:_MOST_NAMED]}' is only in the first"
        if one[key] != other[key]:
            return f"'{key[:_MOST_NAMED]}' is {list(one[key])} and {list(other[key])}"
    key = next((key for key in other if key not in one), "")
    return f"'{key[:_MOST_NAMED]}' is only in the second"
