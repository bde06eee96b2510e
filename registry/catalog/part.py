"""One part of a version by itself: the version of that model alone, in its own names."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from registry.canonical.wrappers import format_stack
from registry.catalog.entry import Entry
from registry.errors.parts import UnknownPart
from registry.tensors.arguments import UNKNOWN, Arguments
from registry.tensors.paths import path_below

if TYPE_CHECKING:
    from registry.tensors.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class PartEntry(Entry):
    """One part of a version. What is kept beside the weights is the version's; the digest is what it has alone."""

    part: str
    whole: Entry
    """The version."""

    def __hash__(self) -> int:
        return hash((self.whole, self.part))


def entry_of_part(whole: Entry, part: str, manifest: Manifest) -> PartEntry:
    """Return one part of a version by itself.

    Args:
        manifest: of the version.

    Raises:
        UnknownPart: there is none of that name.
    """
    found = next((each for each in whole.parts if each.part == part), None)
    if found is None:
        raise UnknownPart(whole.ref, part, [each.part for each in whole.parts])
    within = manifest.below(part)
    is_own = [path_below(part, value.owner.path) is not None for value in manifest.wrappers]
    unwrapping = whole.unwrapping.below(part, is_own)
    facts = {
        **{each.name: getattr(whole, each.name) for each in fields(Entry)},
        **within.counts(),
        "digest": within.weights_digest,
        "parts": (),
        "model_class": found.model_class,
        "init": found.init if found.init is not None else Arguments(),
        "init_as": "kwargs" if found.init is not None else UNKNOWN,
        "unwrapping": unwrapping,
        "wrapper": format_stack(unwrapping.stack),
        "saved_as": "wrapped" if unwrapping.cuts else "bare",
    }
    return PartEntry(part=part, whole=whole, **facts)
