"""Which version introduced each tensor, along the parents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from registry.catalog.entry import Entry
from registry.errors.catalog import ChangedVersion, PurgedVersion, TrashedVersion
from registry.errors.root import RegistryError
from registry.errors.upkeep import NothingToBlame
from registry.home.home import Home
from registry.notebook import called, html_table
from registry.tensors.manifest import digests_of


@dataclass(frozen=True)
class Introduced:
    """A tensor, and where it comes from."""

    name: str
    ref: str
    """The oldest version of the chain that has these values under this name."""


@dataclass(frozen=True)
class BlameReport:
    """Where the tensors of a version come from."""

    ref: str
    chain: tuple[str, ...]
    """The version, its parent, the parent of that, as far as they are here."""
    end: str
    """Why it ends there; empty where the oldest was trained from none."""
    tensors: tuple[Introduced, ...]
    """In the order of the state dict."""

    def __repr__(self) -> str:
        return called(self, self._title())

    def _repr_html_(self) -> str:
        return html_table(self._title(), ("tensors", "introduced by", "number"), self.groups())

    def _title(self) -> str:
        ends = f", which end there: {self.end}" if self.end else ""
        return f"{self.ref}: {len(self.tensors)} tensors along {len(self.chain)} versions{ends}"

    def groups(self) -> list[tuple[str, str, int]]:
        """Return (prefix, reference, number of tensors): a module by its path where all in it share the version."""
        return grouped([(tensor.name, tensor.ref) for tensor in self.tensors])


def blame(home: Home, ref: str, pattern: str | None) -> BlameReport:
    """Follow the parents of a version, and say of each of its tensors which one introduced it.

    Raises:
        NothingToBlame: no tensor has such a name.
        RegistryError: there is no such version, or its row or manifest is not what was stored.
    """
    entry = home.resolve(ref)
    digests = _digests(home, entry)
    wanted = [name for name in digests if pattern is None or fnmatchcase(name, pattern)]
    if not wanted and pattern is not None:
        raise NothingToBlame(entry.ref, pattern, list(digests))
    walk = Ancestors(home, entry)
    chain = [entry.ref]

    def older() -> Iterator[tuple[str, Mapping[str, str]]]:
        for ancestor in walk:
            chain.append(ancestor.ref)
            yield ancestor.ref, _digests(home, ancestor)

    found = introduced(entry.ref, {name: digests[name] for name in wanted}, older())
    return BlameReport(
        ref=entry.ref,
        chain=tuple(chain),
        end=walk.end,
        tensors=tuple(Introduced(name, found[name]) for name in wanted),
    )


def introduced(ref: str, digests: Mapping[str, str], older: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """Return for each tensor of a version the oldest version that has its digest under its name.

    Args:
        older: references and digests by name of the versions that it came from, its parent first.
    """
    found = dict.fromkeys(digests, ref)
    for ancestor, theirs in older:
        found.update((name, ancestor) for name, digest in digests.items() if theirs.get(name) == digest)
    return found


class Ancestors:
    """The parent of a version, the parent of that, and so on."""

    end: str
    """Why there are no more; empty where the oldest was trained from none."""

    def __init__(self, home: Home, entry: Entry) -> None:
        self._home, self._entry = home, entry
        self.end = ""

    def __iter__(self) -> Iterator[Entry]:
        seen, entry = {self._entry.identity}, self._entry
        while entry.parent is not None or entry.parent_uid is not None:
            parent = self._parent(entry)
            if parent is None:
                return
            if parent.identity in seen:
                self.end = f"{parent.ref}, the parent of {entry.ref}, is among those that came from it"
                return
            seen.add(parent.identity)
            yield parent
            entry = parent

    def _parent(self, entry: Entry) -> Entry | None:
        """Return a version's parent, or say why it cannot be followed."""
        called = entry.parent or "its parent"
        try:
            if entry.parent_uid is None and entry.parent is not None:  # pushed before parents were known by identity
                return self._home.resolve(entry.parent)
            found = self._home.catalog.lineage.parent(entry)
            if found is None:
                self.end = f"{called}, the parent of {entry.ref}, is not in this home"
                return None
            return self._home.resolve(found.ref)
        except (TrashedVersion, PurgedVersion) as error:
            gone = "in the trash" if isinstance(error, TrashedVersion) else "gone: the trash was emptied"
            self.end = f"{called}, the parent of {entry.ref}, is {gone}"
        except ChangedVersion:
            raise
        except RegistryError:
            self.end = f"{called}, the parent of {entry.ref}, is not in this home"
        return None


def _digests(home: Home, entry: Entry) -> dict[str, str]:
    try:
        digests, weights = digests_of(home.catalog.document(entry, "manifest") or b"")
    except ValueError as error:
        raise ChangedVersion(entry.ref) from error
    if weights != entry.digest:
        raise ChangedVersion(entry.ref)
    return digests


def grouped(tensors: Sequence[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """Gather tensors by the outermost modules in which all that there are share their version.

    Args:
        tensors: names and references.

    Returns:
        (``"encoder.*"`` or a tensor's name, reference, number of tensors), in the order of the first of each.
    """
    under: dict[str, set[str]] = {}
    for name, ref in tensors:
        for path in _modules(name):
            under.setdefault(path, set()).add(ref)
    counts = Counter(path for name, _ in tensors for path in _modules(name))
    lines: dict[str, tuple[str, int]] = {}
    for name, ref in tensors:
        shared = next((path for path in _modules(name) if len(under[path]) == 1 and counts[path] > 1), None)
        label = name if shared is None else f"{shared}.*" if shared else "*"
        lines[label] = ref, lines.get(label, (ref, 0))[1] + 1
    return [(label, ref, count) for label, (ref, count) in lines.items()]


def _modules(name: str) -> Iterator[str]:
    """Yield the paths of the modules around a tensor, the model itself first."""
    yield ""
    end = name.find(".")
    while end >= 0:
        yield name[:end]
        end = name.find(".", end + 1)
