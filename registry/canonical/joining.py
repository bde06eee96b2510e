"""Several models as one: the canonical form of the whole, from that of each part, which was decided by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from registry.canonical.form import Form
from registry.canonical.unwrap import Unwrapping
from registry.canonical.wrappers import format_stack

V = TypeVar("V")


def joined(forms: Mapping[str, Form]) -> Form:
    """Return the form of models that stand side by side, each below its name, in the file and after it."""
    unwrappings = [form.unwrapping.under(part) for part, form in forms.items()]
    unwrapping = Unwrapping(
        tuple(cut for each in unwrappings for cut in each.cuts),
        tuple(doubt for each in unwrappings for doubt in each.doubts),
        outside=tuple(name for each in unwrappings for name in each.outside),
        absent=tuple(name for each in unwrappings for name in each.absent),
        set_aside=tuple(name for each in unwrappings for name in each.set_aside),
    )
    owned = {
        f"{part}.{name}": replace(owner, path=path_under(part, owner.path))
        for part, form in forms.items()
        for name, owner in form.owned.items()
    }
    metadata = {path: facts for part, form in forms.items() for path, facts in modules_under(part, form.metadata)}
    wrappers = dict.fromkeys(form.wrapper for form in forms.values() if form.wrapper != format_stack(()))
    return Form(
        tensors={name: new for part, form in forms.items() for name, new in _renamed(part, form.tensors)},
        values={name: new for part, form in forms.items() for name, new in _renamed(part, form.values)},
        unwrapping=unwrapping,
        owned=owned,
        restored={name: new for part, form in forms.items() for name, new in _renamed(part, form.restored)},
        defaulted=tuple(f"{part}.{name}" for part, form in forms.items() for name in form.defaulted),
        metadata=metadata or None,
        wrapper=next(iter(wrappers)) if len(wrappers) == 1 else format_stack(unwrapping.stack),
        foreign=tuple(f"{part}.{name}" for part, form in forms.items() for name in form.foreign),
        saved_as="wrapped" if any(form.saved_as == "wrapped" for form in forms.values()) else "bare",
    )


def path_under(part: str, path: str) -> str:
    """Return what the path of a module in a part is in the whole."""
    return f"{part}.{path}" if path else part


def modules_under(part: str, metadata: Mapping[str, V] | None) -> list[tuple[str, V]]:
    """Return the ``_metadata`` of a part by the paths that its modules have in the whole."""
    return [(path_under(part, path), facts) for path, facts in (metadata or {}).items()]


def _renamed(part: str, names: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(f"{part}.{name}", f"{part}.{new}") for name, new in names.items()]
