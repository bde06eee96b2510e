"""Names that are to be one tensor: which are, which are not, and which contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence


def tied(identities: Mapping[str, Hashable]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of names that are one tensor, by what each tensor is known by."""
    groups: dict[Hashable, list[str]] = {}
    for name, identity in identities.items():
        groups.setdefault(identity, []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def separate(groups: Iterable[Sequence[str]], ties: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of names that ``ties`` hold as more than one tensor."""
    one = {name: tie[0] for tie in ties for name in tie}
    return tuple(tuple(group) for group in groups if len({one.get(name, name) for name in group}) > 1)


def broken(tie: Sequence[str], present: Container[str], same: Callable[[str, str], bool]) -> tuple[str, str] | None:
    """Return two names of a tie that have different values, of those that are there; None if all are the same."""
    first, *others = [name for name in tie if name in present] or [""]
    return next(((first, other) for other in others if not same(first, other)), None)
