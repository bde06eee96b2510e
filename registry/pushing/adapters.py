"""The base that a pushed adapter is of, and the proof that the adapter fits on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from registry.attachments.files import attach_files
from registry.catalog.entry import Entry
from registry.checkpoints.documents import Documents
from registry.errors.intake import ModelNeeded
from registry.errors.libraries import (
    BaseNotHere,
    BuilderMismatch,
    LibraryMissing,
    LibraryRefused,
    NotAnAdapter,
)
from registry.errors.models import ModelError
from registry.errors.trust import UntrustedClass
from registry.home.home import Home
from registry.inspection import Inspection, Question, examine
from registry.modules.builders.table import ADAPTER, library, of_class, parsed
from registry.pushing.request import Prepared, PushRequest
from registry.reference import check_new_model_name

if TYPE_CHECKING:
    from torch import nn

    from registry.checkpoints.weights import Checkpoint


def base_of(home: Home, request: PushRequest, inspection: Inspection, name: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the digest of the weights that an adapter is of, and what has to be said of it.

    Raises:
        NotAnAdapter: a base was given for something else.
        BaseNotHere, BaseAltered: the base of a live adapter is not stored here, or cannot be told.
        BuilderMismatch: the adapter does not fit on the base.
        RegistryError: the base that was named is not there.
    """
    if inspection.recipe.builder != "peft":
        if request.base is not None or request.with_base:
            raise NotAnAdapter(inspection.checkpoint.source)
        return None, ()
    if request.base is not None:
        base: Entry | None = home.resolve(request.base)
    else:
        base = _live_base(home, request, name) if request.is_live else None
    if base is None:
        return None, ("stored as an adapter without its base, so a load needs base=; push it with base= (--base)",)
    return base.digest, _proved(home, request, inspection, base)


def _live_base(home: Home, request: PushRequest, name: str) -> Entry:
    """Return the version that has the weights of a live adapter's base, stored now if that was asked for."""
    from registry.modules.builders.adapters import base_checkpoint, base_digest

    module: Any = request.source
    checkpoint = base_checkpoint(module)
    if home.is_made and (found := home.catalog.with_weights(base_digest(checkpoint))) is not None:
        return found
    wanted = f"{name}-base"
    if not request.with_base:
        raise BaseNotHere(wanted)
    return _stored(home, request, checkpoint, check_new_model_name(wanted))


def _stored(home: Home, request: PushRequest, checkpoint: Checkpoint, name: str) -> Entry:
    """Store the base of a live adapter as a version of its own, with what its library makes it of."""
    from registry.modules.layout import model_class
    from registry.pushing.storing import store

    peft: Any = library("peft", checkpoint.source)
    inspection = examine({}, Question(from_="single"), checkpoint)
    base = peft.base_model(request.source)
    builder = of_class(model_class(base))
    if builder is not None and builder != "peft":
        inspection = _with_builder(inspection, builder, base)
    plain = PushRequest({}, name, Question(), request.timeout)
    return store(home, plain, Prepared(name, inspection, attach_files(inspection.documents), None, None))


def _with_builder(inspection: Inspection, builder: str, base: nn.Module) -> Inspection:
    """Return what is known of a base with its builder, where that makes a model of these tensors."""
    from registry.modules.builders.recognition import fits
    from registry.modules.builders.specification import LibrarySpec

    source = inspection.checkpoint.source
    dtypes = {name: tensor.spec.dtype for name, tensor in inspection.tensors.items()}
    try:
        texts = library(builder, source).describe(base)
        if not fits(LibrarySpec(builder, texts, dtypes, source), inspection.tensors):
            return inspection
    except (LibraryMissing, LibraryRefused, ModelError):
        return inspection
    recipe = replace(inspection.recipe, builder=builder)
    return replace(inspection, recipe=recipe, documents=Documents(config=texts))


def _proved(home: Home, request: PushRequest, inspection: Inspection, base: Entry) -> tuple[str, ...]:
    """Build the base with the adapter once, and refuse it where that has other names, shapes or settings.

    Raises:
        BuilderMismatch
    """
    from registry.loading.libraries import recorded_spec
    from registry.modules.builders.adapters import AdapterSpec
    from registry.modules.builders.likeness import differences
    from registry.modules.building.build import build
    from registry.modules.layout import bare, layout

    source, config = inspection.checkpoint.source, inspection.documents.config
    dtypes = {name: tensor.spec.dtype for name, tensor in inspection.tensors.items()}
    try:
        peft: Any = library("peft", source)
        found = parsed(config.get(ADAPTER)) or {}
        if not request.is_live and (way := peft.changes_base(found)) is not None:
            raise BuilderMismatch("peft", source, f"its way of initialization ({way}) changed the weights of its base")
        built = build(AdapterSpec(recorded_spec(home, base), config, dtypes, source)).module
        names = peft.adapter_names(built)
        slots = layout(built).slots
    except (LibraryMissing, LibraryRefused, ModelError, ModelNeeded, UntrustedClass) as error:
        return (f"whether it fits on {base.ref} was not checked: {error}",)
    shapes = {own: tuple(slots[live].tensor.shape) for live, own in names.items()}
    if (why := _misfit(inspection, shapes, set(slots))) is not None:
        raise BuilderMismatch("peft", source, f"on {base.ref} {why}")
    if request.is_live:
        module: Any = request.source
        if (clause := next(differences(bare(module), built), None)) is not None:
            raise BuilderMismatch("peft", source, f"on {base.ref} {clause}")
    return ()


def _misfit(inspection: Inspection, shapes: Mapping[str, tuple[int, ...]], live: set[str]) -> str | None:
    """Return what of an adapter differs from one that was just made; it may hold tensors of the base anew."""
    for name in shapes:
        if name not in inspection.tensors:
            return f"it would have '{name}', too"
    for name, tensor in inspection.tensors.items():
        if name not in shapes and name not in live:
            return f"it would not have '{name}'"
        if name in shapes and shapes[name] != tensor.spec.shape:
            return f"'{name}' has the shape {tensor.spec.shape} and would have {shapes[name]}"
    return None
