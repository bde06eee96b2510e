"""Errors of the canonical form: the names of a file do not allow one reading."""

from __future__ import annotations

import re
from collections.abc import Sequence

from registry.errors.root import RegistryError, few

_MOST_PATTERNS = 8


def some(names: Sequence[str], most: int = 3) -> str:
    """Word a list of names: the first few, and how many more there are."""
    return few([f"'{name}'" for name in names], most)


def patterns(names: Sequence[str]) -> list[str]:
    """Return patterns (``fnmatch``) that cover these names: of each module, or of the parts of the model, or all."""
    escaped = [re.sub(r"([*?[])", r"[\1]", name) for name in names]
    for depth in (None, 1):
        found: dict[str, list[str]] = {}
        for name in escaped:
            found.setdefault(".".join(name.split(".")[:-1][:depth]), []).append(name)
        covering = [of[0] if len(of) == 1 or not parent else f"{parent}.*" for parent, of in found.items()]
        covering += found.get("", [])[1:]
        if len(covering) <= _MOST_PATTERNS:
            break
    return covering[:_MOST_PATTERNS]


class UnknownWrapper(RegistryError):
    """A declaration names a wrapper that is not in the table."""

    def __init__(self, given: str, known: Sequence[str]) -> None:
        super().__init__(
            f"'{given}' is not a valid wrapper; give one of {', '.join(known)}, or a stack of them with the outermost "
            "first, such as 'compile(ddp)'"
        )


class NamesTooDeep(RegistryError):
    """A name has more components than any model has."""

    def __init__(self, name: str, most: int) -> None:
        super().__init__(
            f"the name '{name[:60]}…' has {name.count('.') + 1} components where {most} are the most that is read; "
            "this is not the state dict of a model"
        )


class UnwritableName(RegistryError):
    """A name is a text that no file can hold."""

    def __init__(self, source: str, name: str) -> None:
        is_reserved = name == "__metadata__"
        why = (
            "safetensors files reserve for themselves" if is_reserved else "is not valid Unicode and cannot be written"
        )
        super().__init__(
            f"{source} has the name '{name}', which {why}; rename the module, or the key of the state dict"
        )


class MixedNames(RegistryError):
    """Some names go through a wrapper's component and others, of the same model, do not."""

    def __init__(self, source: str, path: str, inside: Sequence[str], beside: Sequence[str]) -> None:
        super().__init__(
            f"{source} mixes wrapped and bare names: {some(inside, 2)} go through `{path}` and {some(beside, 2)} do "
            f"not, although a wrapper takes every name or none; save one state dict of one model, or keep all names "
            f"as they are with --from-single"
        )
        self.path = path


class CollidingNames(RegistryError):
    """Two names in the file become one canonical name."""

    def __init__(self, source: str, first: str, second: str, canonical: str) -> None:
        super().__init__(
            f"{source} holds both '{first}' and '{second}', which collide: both are '{canonical}' once unwrapped; "
            "save only one of the two, or keep all names as they are with --from-single"
        )


class WrongDeclaration(RegistryError):
    """The names contradict what the user declared."""

    def __init__(self, source: str, declared: str, found: str, path: str, flag: str) -> None:
        super().__init__(
            f"{source} was declared to come from '{declared}', but its names go through `{path}`, which is what "
            f"{found} writes; say {flag} if that is so, or leave the declaration out"
        )


class DeclaredSingle(RegistryError):
    """A class has the names of a version without a component that was declared to belong to the model."""

    def __init__(self, ref: str, target: str, path: str) -> None:
        super().__init__(
            f"{ref} was pushed as not wrapped (--from-single), so its names keep `{path}`, and {target} has them "
            f"without it; if a wrapper put `{path}` there, push the file again without --from-single"
        )


class ShardedNames(RegistryError):
    """The tensors are one rank's part of each parameter."""

    def __init__(self, source: str, why: str, otherwise: str = "") -> None:
        super().__init__(
            f"{source} holds FSDP shards, not whole tensors ({why}), and the other ranks have the rest; save the full "
            "state dict with torch.distributed.checkpoint.state_dict.get_model_state_dict(model, "
            "options=StateDictOptions(full_state_dict=True)), or push a torch.distributed.checkpoint directory"
            + otherwise
        )


class NoTensors(RegistryError):
    """There is nothing to store."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"{source} is empty: its state dict has no tensors, so there is nothing to store; save it "
            "from the model that was trained"
        )


class ClassMismatch(RegistryError):
    """The names of the file are not those of the class, under any set of cuts."""

    def __init__(
        self,
        source: str,
        target: str,
        reading: str,
        missing: Sequence[str],
        extra: Sequence[str],
        fitting: Sequence[str] = (),
    ) -> None:
        parts = []
        if missing:
            parts.append(f"{len(missing)} names of the class are missing in the file ({some(missing)})")
        if extra:
            parts.append(f"{len(extra)} names of the file are not in the class ({some(extra)})")
        flags = " ".join(f"--allow-unexpected '{each}'" for each in patterns(extra))
        allowed = f", leave out what it does not have with {flags}" if extra and not missing else ""
        super().__init__(
            f"{source} does not fit {target}: read {reading}, {' and '.join(parts)}; "
            + (
                f"a part of it fits: {some(fitting)}; choose with --weights, for example --weights {fitting[-1]}"
                if fitting
                else f"check the class and its constructor arguments{allowed}, or push without a class"
            )
        )
        self.missing, self.extra = tuple(missing), tuple(extra)


class ShapesDiffer(RegistryError):
    """The names fit the class, the shapes do not."""

    def __init__(
        self, source: str, target: str, differences: Sequence[tuple[str, Sequence[int], Sequence[int]]]
    ) -> None:
        name, got, want = differences[0]
        more = f", and {len(differences) - 1} more shapes differ" if len(differences) > 1 else ""
        super().__init__(
            f"{source} does not fit {target}: '{name}' has shape {tuple(got)} in the file and {tuple(want)} in the "
            f"class{more}; check the constructor arguments (--init, init=)"
        )
        self.differences = tuple(differences)


class ContradictedTie(RegistryError):
    """The class holds names as one tensor that differ in the file."""

    def __init__(self, source: str, target: str, names: Sequence[str]) -> None:
        super().__init__(
            f"{source} does not fit {target}: the class ties {some(names)}, which share one tensor there, but in the "
            "file they have different values; build the class without the tie, or push the file of the tied model"
        )
