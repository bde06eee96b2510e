"""What of a live model is no longer as its class and its constructor arguments make it, worded for the push."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from registry.errors.canonical import patterns
from registry.tensors.paths import below
from registry.tensors.ties import broken

if TYPE_CHECKING:
    from registry.modules.building.constructor import Constructed
    from registry.modules.building.recipe import Recipe
    from registry.tensors.source import TensorSource


def alterations(recipe: Recipe, tensors: Mapping[str, TensorSource]) -> tuple[str, ...]:
    """Return a sentence on what a load that builds the class would stumble on; none if there is nothing.

    Only names, dtypes and shapes are compared, and nothing is built. What the version records stays as it is: the class
    was constructed with these arguments, and a load that leaves the changed tensors out can use them.

    Args:
        recipe: how the model is made, with what that made at the time.
        tensors: what is stored, by canonical name.
    """
    if recipe.by_part:
        inside = {part: below(part, tensors) for part in recipe.by_part}
        return tuple(
            f"part '{part}': {note}"
            for part, each in recipe.by_part.items()
            for note in alterations(each, {own: tensors[name] for name, own in inside[part].items()})
        )
    made = recipe.constructed
    if made is None:
        return ()
    reshaped, recast, others = _differences(made, tensors)
    found = [*reshaped.values(), *others, *recast.values()]
    if not found:
        return ()
    ways = ["the changed module: load(ref, model=module)"]
    if reshaped and not others:
        ways.append(f"allow_shape={patterns(list(reshaped))}, where the tensor of the class stays")
    if recast and not reshaped and not others:
        dtypes = {tensors[name].spec.dtype for name in recast}
        ways = [f"cast=torch.{dtypes.pop()}" if len(dtypes) == 1 else "a cast= to one dtype", *ways]
    anew = "; where other arguments make these shapes, push it with those as init=" if reshaped else ""
    more = f", and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        f"the model was changed after it was constructed: {', '.join(found[:3])}{more}; {recipe.target} makes it "
        f"otherwise with the arguments recorded, so a load needs {' or '.join(ways)}{anew}",
    )


def is_broken(tie: Sequence[str], tensors: Mapping[str, TensorSource]) -> bool:
    """Whether names that are to be one tensor are several with different values."""

    def same(one: str, other: str) -> bool:
        first, second = tensors[one], tensors[other]
        return first.identity == second.identity or (first.spec == second.spec and first.buffer() == second.buffer())

    return broken(tie, tensors, same) is not None


def _differences(
    made: Constructed, tensors: Mapping[str, TensorSource]
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Return what has another shape, and what has another dtype, by name; and what else differs."""
    reshaped, recast = {}, {}
    for name, before in made.tensors.items():
        now = tensors[name].spec if name in tensors else before
        if now.shape != before.shape:
            reshaped[name] = f"'{name}' was {tuple(before.shape)} and is {tuple(now.shape)}"
        elif now.dtype != before.dtype:
            recast[name] = f"'{name}' was {before.dtype} and is {now.dtype}"
    return reshaped, recast, list(_rest(made, tensors))


def _rest(made: Constructed, tensors: Mapping[str, TensorSource]) -> Iterator[str]:
    yield from (f"'{name}' was removed" for name in made.tensors if name not in tensors)
    yield from (f"'{name}' was added" for name in tensors if name not in made.tensors and name not in made.lazy)
    for tie in made.ties:
        if is_broken(tie, tensors):
            named = " and ".join(f"'{name}'" for name in tie)
            yield f"{named} were one tensor and are not"
