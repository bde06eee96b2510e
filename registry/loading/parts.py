"""Versions of several models: what makes each of them, and the models by the part's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from registry.catalog.entry import Entry
from registry.errors.parts import PartsDiffer
from registry.home.home import Home, OpenedVersion
from registry.modules.building.recipe import arguments_by_part
from registry.modules.parts import PartsSpec

if TYPE_CHECKING:
    from registry.loading.load import LoadRequest


def with_parts(home: Home, version: OpenedVersion, request: LoadRequest) -> OpenedVersion:
    """Return a version with what makes all of its models, after asking whether their classes may be imported.

    Raises:
        PartsDiffer, NotByPart: something is not given for exactly the parts that there are.
        RegistryError: as ``specification``, of each part.
    """
    from registry.loading.load import specification

    entry = version.entry
    named = request.named if isinstance(request.named, Mapping) else {}
    names = [each.part for each in entry.parts]
    if named:
        require_all("model=", entry, named)
    arguments = arguments_by_part(request.init, names, entry.ref, some=True)
    specs = {}
    for name in names:
        part = home.part(entry, name)
        asked = replace(request, named=named.get(name), init=arguments.get(name), init_as=None)
        specs[name] = specification(part, asked, home.recorded_class(part))
    return replace(version, spec=PartsSpec(specs, version.manifest.ties))


def require_all(what: str, entry: Entry, given: Mapping[str, object]) -> None:
    """Refuse what is given by part, and not for exactly the parts of a version.

    Raises:
        PartsDiffer
    """
    names = [each.part for each in entry.parts]
    missing, unknown = [name for name in names if name not in given], [name for name in given if name not in names]
    if missing or unknown:
        raise PartsDiffer(what, entry.ref, missing, unknown, names)


def are_asked_apart(entry: Entry, request: LoadRequest) -> bool:
    """Whether a load gives the models by part: the version's own, or those that the caller gave so."""
    if request.model is not None:
        return request.by_part
    return bool(entry.parts) and not isinstance(request.named, str | type)
