"""Which parameter each position of an optimizer's state is of, where that can be proved. Pure.

An optimizer numbers its parameters group by group. It is taken for granted, as for one group, that a group lists those
of a model in the model's own order; what is proved is which group each is in, and in which order several models follow
each other: by the shapes of the state, and only if exactly one reading fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

from registry.errors.training import UnprovedOrder

Shape = tuple[int, ...]
MOST_READINGS = 256
"""Ways to begin that are followed at once."""
MOST_MODELS = 5
"""Models whose orders are all tried."""


def proved_order(
    groups: Sequence[Sequence[Mapping[str, Shape | None]]], models: Sequence[Sequence[str]], shapes: Mapping[str, Shape]
) -> list[str]:
    """Return the names of the parameters by position, group after group.

    Args:
        groups: for each position of each group, the shapes in its state by key, None of what is no tensor; nothing
            where it has no state.
        models: the names of the parameters of each model, in the model's order.
        shapes: of every parameter.

    Raises:
        UnprovedOrder: no reading fits, or several do.
    """
    # A key is shaped as its parameter is where it is so anywhere: `exp_avg`, and never `step`.
    shaped = {
        key for group in groups for state in group for key, shape in state.items() if shape not in (None, (), (1,))
    }
    wanted = [[{key: shape for key, shape in state.items() if key in shaped} for state in group] for group in groups]
    if len(models) > MOST_MODELS:
        raise UnprovedOrder(f"it is of {len(models)} models, too many to try in which order it has them")
    found: set[tuple[str, ...]] = set()
    are_several = False
    for order in permutations(models):
        reading = _reading([name for names in order for name in names], wanted, shapes)
        if reading is not None:
            found.add(tuple(reading[0]))
            are_several |= reading[1] > 1
    if len(found) == 1 and not are_several:
        return list(found.pop())
    what = f"it has {len(groups)} parameter groups" if len(groups) > 1 else f"it is of {len(models)} models"
    raise UnprovedOrder(
        f"{what}, and {'several readings of them fit' if found else 'no reading of them fits'} the shapes of its state"
    )


class _Step(NamedTuple):
    """How a reading came to where it stands."""

    before: tuple[int, ...]
    group: int
    ways: int
    """How many readings come here; two stand for more."""


def _reading(
    names: Sequence[str], groups: Sequence[Sequence[Mapping[str, Shape | None]]], shapes: Mapping[str, Shape]
) -> tuple[list[str], int] | None:
    """Return a way to deal parameters out to the groups, each in order, and how many there are; two stand for more.

    Raises:
        UnprovedOrder: there are too many ways to begin.
    """
    start = (0,) * len(groups)
    taken: list[dict[tuple[int, ...], _Step]] = []
    here = {start: 1}
    for name in names:
        following: dict[tuple[int, ...], _Step] = {}
        for state, ways in here.items():
            for number, group in enumerate(groups):
                at = state[number]
                if at == len(group) or any(shape != shapes[name] for shape in group[at].values()):
                    continue
                after = (*state[:number], at + 1, *state[number + 1 :])
                known = following.get(after)
                following[after] = _Step(state, number, min(2, ways + (known.ways if known else 0)))
        if len(following) > MOST_READINGS:
            raise UnprovedOrder(f"its {len(groups)} parameter groups allow too many readings to tell which is right")
        taken.append(following)
        here = {state: step.ways for state, step in following.items()}
    end = tuple(map(len, groups))
    if end not in here:
        return None
    dealt: list[list[str]] = [[] for _ in groups]
    ways, state = here[end], end
    for name, steps in zip(reversed(names), reversed(taken), strict=True):
        step = steps[state]
        dealt[step.group].append(name)
        state = step.before
    first = [name for group in dealt for name in reversed(group)]
    return first, ways


def shapes_of(entry: Mapping[str, Any]) -> dict[str, Shape | None]:
    """Return the shapes of the tensors in the state of one parameter, by key."""
    return {key: tuple(value.spec.shape) if hasattr(value, "spec") else None for key, value in entry.items()}
