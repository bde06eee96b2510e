"""From a reference to a ready module; the checks are made before anything is touched."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from registry.canonical.form import Correction, is_extra_state, reconcile
from registry.canonical.owned import stored_values
from registry.catalog.entry import Entry
from registry.catalog.part import PartEntry
from registry.errors.canonical import DeclaredSingle
from registry.errors.intake import InitForInstance, ModelNeeded
from registry.errors.models import FlattenedParameters, InitUnknown, NeitherModelNorClass, described
from registry.errors.outputs import NoExample
from registry.errors.parts import NoParts
from registry.home.home import Home, LoadVerify, OpenedVersion
from registry.loading.parts import are_asked_apart, require_all, with_parts
from registry.modules import parallel
from registry.modules.anatomy import set_mode
from registry.modules.building.build import Built, build
from registry.modules.building.process_state import gc_paused
from registry.modules.building.recipe import read_init
from registry.modules.building.specification import ModelSpec
from registry.modules.building.target import check_target
from registry.modules.building.trust import BUILDERS, Recorded, imports_of, require_trusted
from registry.modules.fitting.expectation import expect_of
from registry.modules.fitting.fit import fit
from registry.modules.fitting.report import LoadReport
from registry.modules.fitting.rollback import undone_on_failure
from registry.modules.layout import Layout, bare, is_fsdp1, layout, model_class
from registry.modules.origin import set_origin
from registry.modules.parts import are_parts, as_one, parts_of
from registry.ranks import collective as ranks
from registry.tensors.arguments import UNKNOWN
from registry.tensors.decoding import decode, decode_metadata
from registry.tensors.wrapper_value import Owner

if TYPE_CHECKING:
    from registry.attachments.examples.replay import Replay
    from registry.blobs.writer import Progress


@dataclass(frozen=True)
class LoadRequest:
    """What the user asked of a load."""

    model: nn.Module | None = None
    named: type[nn.Module] | str | Mapping[str, type[nn.Module] | str] | None = None
    """The class to build instead of the one that the version names; or that of each part."""
    init: Mapping[str, Any] | None = None
    """Over the stored ones, key by key."""
    init_as: str | None = None
    device: str | torch.device | None = None
    ddp: bool = False
    fsdp: bool = False
    rank: int | None = None
    allow_missing: Sequence[str] = ()
    allow_unexpected: Sequence[str] = ()
    allow_shape: Sequence[str] = ()
    cast: torch.dtype | None = None
    verify: LoadVerify = "always"
    resident: bool = False
    progress: Progress | None = None
    base: str | None = None
    """Reference of the version that an adapter is put on."""
    part: str | None = None
    """Of several models, the one that is loaded."""
    by_part: bool = False
    """Whether ``model`` holds the models of the caller, who gave them by part."""
    seconds: float = ranks.PATIENCE
    """How long the ranks of a job wait for each other."""

    @property
    def is_as_recorded(self) -> bool:
        """Whether the model is to be made as the version says."""
        return self.model is None and self.named is None and self.init is None and self.init_as is None

    @classmethod
    def of(
        cls,
        model: object,
        init: Mapping[str, Any] | Namespace | None,
        init_as: str | None,
        **rest: Any,
    ) -> LoadRequest:
        """Return what was asked, with an instance and a class told apart.

        Raises:
            NeitherModelNorClass: ``model`` is neither.
            BadTarget: it is a text that does not name a class.
            UnusableInit, UnknownInitStyle: the arguments are of another kind than a load takes.
        """
        rest["init"], rest["init_as"] = read_init(init, init_as)
        if model is None or isinstance(model, nn.Module):
            return cls(model, **rest)
        if are_parts(model):
            return cls(as_one(cast("Mapping[str, nn.Module]", model)), by_part=True, **rest)
        if isinstance(model, Mapping) and model:
            return cls(named={str(part): _class_of(kind) for part, kind in model.items()}, **rest)
        return cls(named=_class_of(model), **rest)


def _class_of(model: object) -> type[nn.Module] | str:
    if isinstance(model, str):
        return check_target(model)
    if isinstance(model, type) and issubclass(model, nn.Module):
        return model
    raise NeitherModelNorClass(described(model))


@gc_paused()
def load(
    home: Home, ref: str, request: LoadRequest, begun: OpenedVersion | None = None
) -> tuple[nn.Module | dict[str, nn.Module], LoadReport]:
    """Make a ready model from a version, or put the version into the caller's: on one device, or on every rank.

    Of a version of several models, it is a dict of them by part, unless one part was asked for.

    Args:
        begun: the version, where it was opened already.

    Raises:
        RegistryError: the caller's model is as it was; what fails on one rank raises on all.
    """
    checks_outputs = request.verify == "outputs"
    with undone_on_failure(request.model if checks_outputs else None):
        if request.ddp or request.fsdp:
            entry, module, report = _load_on_ranks(home, ref, request)
        else:
            entry = begun.entry if begun is not None else home.part(home.resolve(ref), request.part)
            module, report = load_here(opened(home, entry, request, begun), request)
            if request.model is None:
                set_mode(module, training=False)
        if checks_outputs:
            _check_outputs(home, module, report.ref, request)
            report = replace(report, notices=(*report.notices, "the outputs for its example are as they were stored"))
    if isinstance(entry, PartEntry):
        set_origin(module, entry.ref, entry.whole.digest, part=entry.part)
    elif are_asked_apart(entry, request):
        models = parts_of(module)
        for part, model in models.items():
            set_origin(model, entry.ref, entry.digest, part=part)
        return models, report
    else:
        set_origin(module, entry.ref, entry.digest)
    return module, report


def opened(home: Home, entry: Entry, request: LoadRequest, begun: OpenedVersion | None = None) -> OpenedVersion:
    """Return an entry with its weights, and, where a library makes its model, with what it makes it of.

    Args:
        begun: the entry with its weights, where it was opened already.

    Raises:
        RegistryError: as ``Home.open`` and ``with_library`` do.
    """
    verify = request.verify
    version = begun or home.open(entry, verify, resident=request.resident, progress=request.progress)
    if request.progress is not None:
        version = replace(version, check=partial(version.check, request.progress))
    if isinstance(entry, PartEntry) and (request.by_part or isinstance(request.named, Mapping)):
        raise NoParts("model=", f"the part '{entry.part}' of {entry.ref}")
    if are_asked_apart(entry, request):
        if request.model is None:
            return with_parts(home, version, request)
        if entry.parts:
            require_all("model=", entry, parts_of(request.model))
        return version
    if isinstance(request.named, Mapping):
        raise NoParts("model=", entry.ref)
    if entry.builder is None and request.base is None:
        return version
    from registry.loading.libraries import with_library

    return with_library(home, version, request, lambda base: home.open(base, verify, resident=request.resident))


def _check_outputs(home: Home, module: nn.Module, ref: str, request: LoadRequest) -> None:
    def check() -> None:
        replay_version(home, home.resolve(ref), module, request.cast).require()

    if request.ddp or request.fsdp:
        ranks.together(f"verifying the outputs of {ref}", check, request.seconds)
    else:
        check()


def replay_version(home: Home, entry: Entry, model: nn.Module | None = None, cast: torch.dtype | None = None) -> Replay:
    """Run a version's example, by a model that holds its weights or one that is loaded for it.

    Raises:
        NoExample: the version was pushed without one.
        RegistryError: it cannot be loaded, or not be run.
    """
    from registry.attachments.examples.replay import replay

    example = home.attachment(entry, "example")
    if example is None:
        raise NoExample(entry.ref)
    module: Any = model if model is not None else load(home, entry.ref, LoadRequest())[0]
    return replay(entry.ref, example, module, cast=cast)


def specification(entry: Entry, request: LoadRequest, recorded: Recorded | None) -> ModelSpec:
    """Return what to build for an entry, after asking whether what that imports may be imported.

    Raises:
        ModelNeeded: neither the entry nor the request names a class.
        InitUnknown: nobody said with which arguments it was constructed.
        UntrustedClass: the entry names one that the request does not, and nothing speaks for it.
    """
    named = request.named
    if recorded is None and named is None:
        raise ModelNeeded(entry.ref)
    assert not isinstance(named, Mapping)
    is_known = entry.init_as != UNKNOWN
    if not is_known and request.init is None:
        raise InitUnknown(entry.model_class or str(named), entry.ref)
    init, style = {**entry.init, **(request.init or {})}, request.init_as or (entry.init_as if is_known else "kwargs")
    if isinstance(named, type):
        return ModelSpec(f"{named.__module__}:{named.__qualname__}", init, style, named)
    if recorded is None:
        assert named is not None
        recorded = Recorded(entry.ref, named, entry.origin, Path(), named_by_push=True)
    # Naming the class that a builder makes is naming the class, and no reason to leave out the builder.
    target = recorded.target if named is None or named in imports_of(recorded.target, init) else named
    spec = ModelSpec(target, init, style, allows_function=named is not None or recorded.named_by_push)
    for imported in imports_of(target, init):
        is_named = imported == named or (target in BUILDERS and imported in imports_of(target, request.init or {}))
        require_trusted(replace(recorded, target=check_target(imported)), named=is_named)
    return spec


def _load_on_ranks(home: Home, ref: str, request: LoadRequest) -> tuple[Entry, nn.Module, LoadReport]:
    """Do the same on every rank of the process group, with one version, and wrap it: DDP, or FSDP2.

    Rank 0 resolves the reference, so an alias that moves meanwhile divides nobody; each rank opens that version for
    itself and refuses another digest. What fails on one rank raises on all.

    Raises:
        NoProcessGroup, WrongRank: it is called outside of a job, or for another rank.
        OtherRankFailed, RankUnreachable: another rank failed, or is gone.
        RegistryError: as ``load_here`` does.
    """
    ranks.require_process_group(f"registry.load(..., {'fsdp' if request.fsdp else 'ddp'}=True)")
    own = ranks.current_rank(request.rank)
    entry = ranks.from_rank_zero(
        "resolving the reference", lambda: home.part(home.resolve(ref), request.part), request.seconds
    )

    def here() -> tuple[torch.device, nn.Module, LoadReport]:
        device = ranks.usable_device(request.device) if request.device is not None else ranks.rank_device(own)
        version = opened(home, entry, request)
        return device, *load_here(version, replace(request, device=None), device if request.fsdp else None)

    with undone_on_failure(request.model):  # around the ranks: another's failure undoes this one
        device, module, report = ranks.together(f"loading {entry.ref}", here, request.seconds)
        if request.fsdp:
            return entry, set_mode(module, training=True), report
        synchronize = bool(request.allow_missing or request.allow_shape)
        if are_asked_apart(entry, request):
            wrapped = {part: _under_ddp(model, device, synchronize) for part, model in parts_of(module).items()}
            return entry, as_one(wrapped), report
        return entry, _under_ddp(module, device, synchronize), report


def _under_ddp(module: nn.Module, device: torch.device, synchronize: bool) -> nn.Module:
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return module
    return parallel.wrap_ddp(module, device, synchronize=synchronize)


def require_unflattened(model: nn.Module) -> None:
    """Raise if weights cannot go into a live module.

    Raises:
        FlattenedParameters: it is under FSDP1.
    """
    if is_fsdp1(model):
        raise FlattenedParameters(model_class(model).__name__)


def load_here(
    version: OpenedVersion, request: LoadRequest, shard_on: torch.device | None = None
) -> tuple[nn.Module, LoadReport]:
    """Put the weights into the caller's module, or into one built from the entry's class.

    Args:
        shard_on: this rank's device, to give the parameters of a built module out over all ranks.

    Raises:
        RegistryError: of ``models`` (the class, the fit) and ``blobs`` (the bytes); a caller's module is unchanged.
    """
    entry = version.entry
    device = ranks.usable_device(request.device) if request.device is not None else None
    built: Built | None = None
    if request.model is None:
        built = build(version.spec or specification(entry, request, version.recorded))
        if shard_on is not None:
            parallel.shard(built, shard_on, cast=request.cast)
    else:
        if request.init is not None or request.init_as is not None:
            raise InitForInstance(model_class(request.model).__name__)
        require_unflattened(request.model)
    target = built if built is not None else request.model
    assert target is not None
    module = target.module if isinstance(target, Built) else target
    found = built.found if built is not None and built.found is not None else layout(module)
    if entry.builder == "peft":
        from registry.loading.libraries import combined

        version = combined(version, module)
    # Asking such a class for its state dict runs code of its own already.
    with undone_on_failure(request.model if found.custom else None):
        correction, notices = _corrected(version, module, found)
        renamed = correction.renamed
        report = fit(
            target,
            {
                renamed.get(name, name): tensor
                for name, tensor in version.tensors.items()
                if name not in correction.owned
            },
            ties=[[renamed.get(name, name) for name in tie] for tie in version.manifest.ties],
            values={
                renamed.get(name, name): decode(value)
                for name, value in version.manifest.values.items()
                if is_extra_state(name) and name not in correction.owned
            },
            metadata=decode_metadata(version.manifest.metadata),
            allow_missing=request.allow_missing,
            allow_unexpected=request.allow_unexpected,
            allow_shape=request.allow_shape,
            wrapped=_wrapper_values(version, correction.owned),
            cast=request.cast,
            device=device,
            check=version.check,
        )
    return target.module if isinstance(target, Built) else target, replace(
        report,
        ref=entry.ref,
        digest=entry.digest,
        notices=(*entry.notices, *notices, *report.notices),
        verified=version.verified,
    )


def _corrected(version: OpenedVersion, module: nn.Module, found: Layout) -> tuple[Correction, tuple[str, ...]]:
    """Return what this class puts right about the names, and what to say of it."""
    names = [*version.tensors, *(n for n in version.manifest.values if is_extra_state(n))]
    if not found.custom and found.slots.keys() | found.extra_states.keys() == set(names):
        return Correction(), ()
    correction = reconcile(names, version.entry.unwrapping, expect_of(bare(module), found)) or Correction()
    if correction.refused:
        raise DeclaredSingle(version.entry.ref, model_class(module).__name__, correction.refused)
    changed = {name: new for name, new in correction.renamed.items() if name != new}
    if not changed:
        return correction, ()
    first, new = next(iter(changed.items()))
    notice = f"{len(changed)} names corrected by the class, which contradicts the stored reading: {first} is {new}"
    return correction, (notice,)


def _wrapper_values(version: OpenedVersion, corrected: Mapping[str, Owner]) -> dict[Owner, Any]:
    """Return what the wrappers of an entry own, also what only the class at hand has told to be of a wrapper."""
    stored = stored_values(version.entry.unwrapping, version.manifest.wrappers)
    return {
        **{owner: decode(value) for owner, value in stored.items()},
        **{
            owner: version.tensors[name] if name in version.tensors else decode(version.manifest.values[name])
            for name, owner in corrected.items()
        },
    }
