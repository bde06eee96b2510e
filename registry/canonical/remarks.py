"""What has to be said of a canonical form: what its names may hold still, what is beside the tensors, and ties."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from registry.canonical.assume import assume
from registry.canonical.form import Form, is_extra_state
from registry.canonical.tree import grow
from registry.errors.canonical import MixedNames, some
from registry.errors.root import few


def remarks(form: Form, aliases: Mapping[str, str], target: str | None) -> Iterator[str]:
    """Yield sentences for the user.

    Args:
        aliases: what the file's metadata may say of tied names: the name left out to the one kept.
        target: the class that decided the names, where one did.
    """
    if form.unwrapping.single and target is None:
        yield from _against_the_declaration(form.tensors)
    if form.foreign:
        noun = "the plain value" if len(form.foreign) == 1 else "the plain values"
        yield f"not stored: {noun} {some(form.foreign)}, which {target or 'the class'} does not have"
    beside = [name for name in form.values if not is_extra_state(name)]
    if beside and target is None:
        noun = "a plain value" if len(beside) == 1 else "plain values"
        yield f"kept as {noun} beside the tensors: {some(beside)}; with --model, only what the class has is kept"
    told = {old: kept for old, kept in sorted(aliases.items()) if form.unwrapping.bare(old) not in form.restored}
    if told and target is None:
        said = few([f"'{dropped}': '{kept}'" for dropped, kept in told.items()], 3)
        yield (
            f"its metadata says {said}: facts, or names that were left out because they are tied to others; none is "
            "added, and a class that ties them has both (--model)"
        )


def _against_the_declaration(names: Iterable[str]) -> Iterator[str]:
    """Yield what would have been cut out of names of which it was declared that nothing had wrapped the model."""
    with suppress(MixedNames):
        cuts, _ = assume("", grow(names), None)
        for cut in cuts[:1]:
            yield (
                f"`{cut.path}` stays in {cut.names} names, since it was said that nothing had wrapped the model; if it "
                f"was under {cut.wrapper}, push it without --from-single"
            )
