"""What has to be said of a canonical form: what stands beside the tensors, and what may be no tie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from registry.canonical.form import EXTRA_STATE, Form
from registry.errors.canonical import some


def remarks(form: Form, aliases: Mapping[str, str], target: str | None) -> Iterator[str]:
    """Yield sentences for the user.

    Args:
        aliases: what the file's metadata may say of tied names: the name left out to the one kept.
        target: the class that decided the names, where one did.
    """
    if form.foreign:
        noun = "the plain value" if len(form.foreign) == 1 else "the plain values"
        yield f"not stored, since {target or 'the class'} has no such name: {noun} {some(form.foreign)}"
    beside = [name for name in form.values if name.rpartition(".")[2] != EXTRA_STATE]
    if beside and target is None:
        noun = "a plain value" if len(beside) == 1 else "plain values"
        yield f"kept beside the tensors as {noun}, which a class may not have: {some(beside)}"
    if target is None:
        for dropped, kept in aliases.items():
            if form.unwrapping.bare(dropped) not in form.restored:
                yield (
                    f"its metadata says '{dropped}': '{kept}', which may be a fact, or a name that was left out since "
                    f"it is tied to '{kept}'; none is added, and a class that ties them has both (--model)"
                )
                return
