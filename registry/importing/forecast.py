"""What a push of each file would give: its number, or the version that has its weights already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from registry.errors.root import RegistryError
from registry.home.home import Home
from registry.importing.plan import Step
from registry.importing.recognition import Recognized, digest_of_weights, refused, source_digest
from registry.importing.report import ImportLine


def line_of(step: Step) -> ImportLine:
    """Return the line of something that was found, as far as it is known before it is pushed."""
    found, known = step.found, step.known
    line = ImportLine(
        path=found.path,
        verdict=found.verdict,
        name=step.name if found.verdict == "new" else None,
        metrics=found.metrics,
        saved_at=found.saved_at,
        source_uri=found.source_uri,
        byte_count=found.byte_count,
        reason=found.reason,
        code=found.code,
    )
    if known is None:
        return line
    line = replace(line, name=known.name, version=known.number, verdict="already there")
    if known.trashed_at is None:
        return line
    return replace(line, verdict="in the trash", reason=f"`registry restore {line.ref}` takes it back")


class Forecast:
    """A dry run. Weights are read in whole only where their beginnings are those of others, or the model is there."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._numbers: dict[str, int] = {}
        self._there: dict[str, dict[str, int]] = {}
        """Of each model in the home, the version of each digest."""
        self._digests: dict[str, str] = {}
        """Of what was read in whole, by path."""
        self._alike: dict[tuple[str, str], list[tuple[Recognized, int]]] = {}
        """What was met before, with its number, by model and likeness."""

    def lines(self, steps: Sequence[Step]) -> Iterator[ImportLine]:
        """Yield the line of each, in the order in which they would be pushed."""
        for step in steps:
            if not step.is_push:
                yield line_of(step)
                continue
            try:
                yield self._line(step)
            except RegistryError as error:
                yield line_of(replace(step, found=refused(step.found, error)))

    @property
    def _is_first(self) -> bool:
        """Whether there is no registry yet to look in."""
        return not self._home.is_made

    def _line(self, step: Step) -> ImportLine:
        line, found, name = line_of(step), step.found, str(step.name)
        if (number := self._twin(found, name)) is not None:
            return replace(line, version=number, verdict="same weights")
        number = self._numbers.get(name) or (1 if self._is_first else self._home.catalog.next_number(name))
        self._numbers[name] = number + 1
        self._alike.setdefault((name, found.likeness), []).append((found, number))
        return replace(line, version=number)

    def _twin(self, found: Recognized, name: str) -> int | None:
        """Return the number of the version that a push would find, or make before this one."""
        for other, number in self._alike.get((name, found.likeness), []):
            # A training state or a configuration that the other lacks makes another version of the same weights.
            is_less = not found.is_more or source_digest(found) == source_digest(other)
            if is_less and self._digest(found) == self._digest(other):
                return number
        there = self._in_home(name)
        return there.get(self._digest(found)) if there and not found.is_more else None

    def _in_home(self, name: str) -> dict[str, int]:
        if name not in self._there:
            entries = () if self._is_first or not self._home.catalog.count(name) else self._home.catalog.entries(name)
            self._there[name] = {entry.digest: entry.version for entry in reversed(entries)}
        return self._there[name]

    def _digest(self, found: Recognized) -> str:
        if found.path not in self._digests:
            self._digests[found.path] = digest_of_weights(found)
        return self._digests[found.path]
