"""Several live models as one: each a part of it, under a name of its own, as in a ``torch.nn.ModuleDict``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from registry.errors.parts import BadPartName
from registry.modules.building.specification import Constructs
from registry.modules.layout import Slot, bare, layout
from registry.tensors.paths import may_name_part


def as_one(parts: Mapping[Any, nn.Module] | Sequence[nn.Module]) -> nn.ModuleDict:
    """Return one module that has these as its parts, be it under a name that ``ModuleDict`` has a method of.

    Raises:
        BadPartName: one of the names cannot be a component of a tensor's name.
    """
    named = parts if isinstance(parts, Mapping) else {str(number): part for number, part in enumerate(parts)}
    whole = nn.ModuleDict()
    for name, part in named.items():
        if not may_name_part(name):
            raise BadPartName(str(name))
        whole.__dict__["_modules"][name] = part
    whole.training = any(part.training for part in named.values())
    return whole


def are_parts(value: object) -> bool:
    """Whether something is several live models: a dict or a list of modules, and of nothing else."""
    if not isinstance(value, (Mapping, list, tuple)) or isinstance(value, type):
        return False
    held = list(value.values()) if isinstance(value, Mapping) else list(value)
    return bool(held) and all(isinstance(part, nn.Module) for part in held)


def parts_of(module: nn.Module) -> dict[str, nn.Module]:
    """Return the parts of a module that is nothing but several models, be it wrapped itself; none of any other."""
    inner = bare(module)
    if type(inner) is not nn.ModuleDict:
        return {}
    return {name: part for name, part in inner.__dict__["_modules"].items() if part is not None}


@dataclass(frozen=True)
class PartsSpec:
    """What makes each part of a version, and which of their tensors are one."""

    specs: Mapping[str, Constructs]
    ties: Sequence[Sequence[str]] = ()
    """Of the whole. What a class ties is in one part; what is tied across parts, whoever pushed them had tied."""

    @property
    def target(self) -> str:
        return " and ".join(spec.target for spec in self.specs.values())

    def construct(self) -> nn.Module:
        """Make every part in the ordinary way, and make one what is tied across parts.

        Raises:
            ModelError: one of them cannot be made here.
        """
        whole = as_one({name: spec.construct() for name, spec in self.specs.items()})
        across = [tie for tie in self.ties if len({name.partition(".")[0] for name in tie}) > 1]
        if across:
            _tie(whole, across)
        return whole


def _tie(whole: nn.Module, ties: Sequence[Sequence[str]]) -> None:
    """Make names one tensor where they are alike; where they are not, the load that follows says so."""
    slots = layout(whole).slots
    for tie in ties:
        found = [slots[name] for name in tie if name in slots]
        for slot in found[1:]:
            if _form(slot) == _form(found[0]):
                kept = "_parameters" if slot.is_parameter else "_buffers"
                slot.owner.__dict__[kept][slot.key] = found[0].tensor


def _form(slot: Slot) -> tuple[Any, ...]:
    return slot.is_parameter, slot.tensor.shape, slot.tensor.dtype
