"""The verbs, each in the order in which its work is done. This module conducts; the words are elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from registry.catalog.catalog import Catalog
from registry.catalog.draft import Draft, parse_condition
from registry.catalog.entry import Entry
from registry.errors.training import JobNeedsModel
from registry.home import address as settings
from registry.home.arguments import checked
from registry.home.version import Contents, OpenedVersion, Verify
from registry.reference import check_new_model_name, is_named_like_a_file, is_path, parse
from registry.upkeep.gc import GRACE, Collected, collect

if TYPE_CHECKING:
    from argparse import Namespace

    import torch
    from torch import nn

    from registry.attachments.examples.replay import Replay
    from registry.blobs.store import BlobStore
    from registry.catalog.trail import Event
    from registry.inspection import Inspection, Question
    from registry.loading.check import CheckReport
    from registry.loading.resume import Resumed
    from registry.modules.fitting.report import LoadReport
    from registry.pushing.push import Submission
    from registry.upkeep.audit import AuditReport
    from registry.upkeep.diff import Difference
    from registry.upkeep.doctor import Finding

    Source = str | os.PathLike[str] | nn.Module | Mapping[str, Any]

LoadVerify = Literal["always", "once", "never", "outputs"]
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

TIMEOUT = timedelta(minutes=10)
"""How long the ranks of a job wait for each other in a push."""


class Registry:
    """A registry in one folder, created on first use. Its methods are the verbs.

    Args:
        home: the folder; by default ``REGISTRY_HOME``, else the user's data directory.
    """

    @checked
    def __init__(self, home: str | os.PathLike[str] | None = None) -> None:
        self.home = settings.home(home)
        self._catalog: Catalog | None = None

    def __repr__(self) -> str:
        return f"Registry({str(self.home)!r})"

    @property
    def catalog(self) -> Catalog:
        """What is known of the versions; opened, and migrated if need be, when it is first used.

        A home that was deleted is made again by the next verb, never in the middle of one.
        """
        if self._catalog is None or not self._catalog.is_there:
            self._catalog = Catalog(self.home)
        return self._catalog

    @cached_property
    def store(self) -> BlobStore:
        """The bytes."""
        from registry.blobs.store import BlobStore

        return BlobStore(self.home)

    @property
    def contents(self) -> Contents:
        """What the versions hold."""
        return Contents(self.catalog, self.store)

    # Putting in

    @checked
    def push(
        self,
        source: Source,
        name: str | None = None,
        *,
        from_: str | None = None,
        model: str | Callable[..., nn.Module] | None = None,
        init: Mapping[str, Any] | Namespace | None = None,
        init_as: str | None = None,
        init_from_file: bool = False,
        weights: str | None = None,
        world_size: int | None = None,
        metrics: Mapping[str, float] | None = None,
        aliases: Sequence[str] = (),
        parent: str | None = None,
        note: str = "",
        force_new: bool = False,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        scaler: Any = None,
        step: int | None = None,
        epoch: int | None = None,
        example: object = None,
        blocking: bool = True,
        timeout: timedelta = TIMEOUT,
        progress: Progress | None = None,
    ) -> Any:
        """Store a checkpoint in canonical form as the next version of ``name``.

        In a job of several processes every rank calls it with its live model: one writes, all get the same entry, and
        what fails on one raises on all.

        Args:
            source: a file, a folder, a state dict, or a live module, wrapped or not.
            name: the model's name; by default the file's stem.
            from_: the wrapper it was trained in: ``"ddp"``, ``"compile(ddp)"``, ``"single"``.
            model: its class, or ``"pkg.mod:Class"``, which then judges the names.
            init: what the class is constructed with, by name; by default what was remembered on the live module, and of
                a file nothing. A ``Namespace`` is what the class takes as its only argument. Beside others, it stands
                under the name of its parameter: ``{"args": args, "num_classes": 40}``; what has no name, in a list
                under ``"*"``.
            init_as: how the class takes them: ``"kwargs"`` (the default), ``"namespace"`` or ``"dict"``.
            init_from_file: take what the file says of itself (``hyper_parameters``), too, where ``init`` does not. Its
                writer then chooses what the class is called with.
            weights: which set of weights, where the file holds several: any path in it, such as ``"ema.model"`` or
                ``"heads.0"``; ``"."`` is all of it.
            world_size: number of processes that trained it.
            metrics: finite numbers by name.
            aliases: movable names to point at the version.
            parent: reference of the version it was trained from.
            note: free text.
            force_new: make another version even if the name has these weights already.
            example: inputs to run the model on (a tensor, a tuple of tensors, a dict of keyword tensors); they are
                stored with the outputs, which ``load(..., verify="outputs")`` compares.
            optimizer: of a live model; its state is stored beside the weights, keyed by parameter name, for ``resume``.
                So are the states of ``scheduler`` and ``scaler``, and ``step`` and ``epoch``.
            blocking: wait until it is stored; otherwise everything is copied to host memory and written in the
                background, and what is returned has ``wait()``.
            timeout: how long the ranks of a job wait for each other; a number is one of seconds.
            progress: called with (bytes done, bytes in all).

        Returns:
            The ``Entry`` of the new version; or of the one that has these weights already, with ``reused`` set. With
            ``blocking=False`` a ``PendingEntry``, whose ``wait()`` returns it.

        Raises:
            RegistryError: nothing was stored.
        """
        from registry.inspection import Question
        from registry.pushing.push import submit, submit_later
        from registry.pushing.storing import name_for

        submission = self._submission(
            source,
            Draft(
                name=self._name_of(name_for(source, name)),
                world_size=world_size,
                metrics=metrics or {},
                aliases=tuple(aliases),
                note=note,
            ),
            Question.of(from_, model, init, init_as, weights, init_from_file),
            parent,
            (optimizer, scheduler, scaler, step, epoch),
            example=example,
            force_new=force_new,
            progress=progress,
            timeout=timeout,
        )
        if blocking:
            return submit(lambda: self.catalog, self.store, submission)
        return submit_later(lambda: self.catalog, self.store, submission)

    @checked
    def resume(
        self,
        ref: str,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        scaler: Any = None,
        *,
        verify: Verify = "always",
    ) -> Resumed:
        """Bring a job back to where a version was pushed: weights, optimizer, scheduler, scaler, random generators.

        The model may be bare, under DDP or FSDP2, on any number of ranks; in a job every rank calls it. Optimizer state
        goes by parameter name, so the parameters may be registered in another order. Random generators are put back
        where one process pushed and one resumes.

        Args:
            model: the caller's, which keeps its parameter objects.
            optimizer: over the parameters of this model; likewise ``scheduler`` and ``scaler``, as they were pushed.

        Raises:
            RegistryError: nothing was changed; what fails on one rank raises on all.
        """
        from registry.attachments.training.job import Job
        from registry.loading.resume import resume

        return resume(
            model,
            Job(optimizer, scheduler, scaler),
            lambda: self.get(ref),
            lambda entry: self.contents.open(entry, verify),
            lambda entry: self.contents.enclosed(entry, "training", verify),
        )

    @checked
    def inspect(
        self,
        source: Source,
        *,
        from_: str | None = None,
        model: str | Callable[..., nn.Module] | None = None,
        init: Mapping[str, Any] | Namespace | None = None,
        init_as: str | None = None,
        init_from_file: bool = False,
        weights: str | None = None,
    ) -> Inspection:
        """Return what a push of this checkpoint would store, without storing it.

        Raises:
            RegistryError: as ``push`` does.
        """
        from registry.inspection import Question
        from registry.pushing.push import inspect

        return inspect(source, Question.of(from_, model, init, init_as, weights, init_from_file))[0]

    @checked
    def check(
        self,
        module: nn.Module | str | os.PathLike[str],
        ref_or_path: str | os.PathLike[str],
        *,
        names: Sequence[str] | None = None,
        weights: str | None = None,
    ) -> CheckReport:
        """Compare what sits in a live module now with a version or with a file, tensor by tensor, by bits.

        It finds what no comparison of names can: weights that were initialized anew after a load. A file is only read:
        nothing is stored, and no registry is created or needed. The spelling decides what is a file: a ``PathLike``,
        and a text that begins with ``/``, ``./``, ``../`` or ``~`` or ends in a checkpoint's suffix.

        Args:
            module: the model, wrapped or not. One that FSDP shards is checked by all ranks together: each calls it, and
                all get the same report. Or a reference or a path, to compare two stored things without their class.
            ref_or_path: what it should hold.
            names: patterns (``"encoder.*"``) of the only names to compare.
            weights: which set of weights, where the file holds several.

        Returns:
            The report; ``report.require()`` raises ``WeightsDiffer`` unless ``report.is_equal``.

        Raises:
            RegistryError: there is no such version or file, or it cannot be read.
        """
        from registry.loading.counterparts import Stored, StoredVersion, check_module, check_stored, open_file

        def resolve(given: str | os.PathLike[str]) -> Entry | None:
            return None if is_path(given) else self.get(str(given))

        def opened(given: str | os.PathLike[str], entry: Entry | None) -> Stored:
            if entry is None:
                return open_file(given, weights)
            manifest = self.contents.manifest(entry)
            return StoredVersion(entry, manifest, lambda part: self.contents.tensors(entry, part))

        if isinstance(module, (str, os.PathLike)):
            here, against = (opened(given, resolve(given)) for given in (module, ref_or_path))
            return check_stored(here, against, names)
        return check_module(module, lambda: resolve(ref_or_path), lambda entry: opened(ref_or_path, entry), names)

    # Taking out

    @overload
    def load(
        self,
        ref: str,
        *,
        model: nn.Module | type[nn.Module] | str | None = ...,
        init: Mapping[str, Any] | Namespace | None = ...,
        init_as: str | None = ...,
        device: str | torch.device | None = ...,
        ddp: bool = ...,
        fsdp: bool = ...,
        rank: int | None = ...,
        allow_missing: Sequence[str] = ...,
        allow_unexpected: Sequence[str] = ...,
        allow_shape: Sequence[str] = ...,
        cast: torch.dtype | None = ...,
        verify: LoadVerify = ...,
        resident: bool = ...,
        report: Literal[False] = ...,
    ) -> nn.Module: ...

    @overload
    def load(
        self,
        ref: str,
        *,
        model: nn.Module | type[nn.Module] | str | None = ...,
        init: Mapping[str, Any] | Namespace | None = ...,
        init_as: str | None = ...,
        device: str | torch.device | None = ...,
        ddp: bool = ...,
        fsdp: bool = ...,
        rank: int | None = ...,
        allow_missing: Sequence[str] = ...,
        allow_unexpected: Sequence[str] = ...,
        allow_shape: Sequence[str] = ...,
        cast: torch.dtype | None = ...,
        verify: LoadVerify = ...,
        resident: bool = ...,
        report: Literal[True],
    ) -> tuple[nn.Module, LoadReport]: ...

    @checked
    def load(
        self,
        ref: str,
        *,
        model: nn.Module | type[nn.Module] | str | None = None,
        init: Mapping[str, Any] | Namespace | None = None,
        init_as: str | None = None,
        device: str | torch.device | None = None,
        ddp: bool = False,
        fsdp: bool = False,
        rank: int | None = None,
        allow_missing: Sequence[str] = (),
        allow_unexpected: Sequence[str] = (),
        allow_shape: Sequence[str] = (),
        cast: torch.dtype | None = None,
        verify: LoadVerify = "always",
        resident: bool = False,
        report: bool = False,
    ) -> nn.Module | tuple[nn.Module, LoadReport]:
        """Return a ready model made from a version, or put the version into the caller's model.

        Without ``ddp`` and ``fsdp``: the bare module on one device, in eval mode (the caller's own ``model`` keeps its
        mode). With ``ddp``: a ``DistributedDataParallel`` on the rank's device, in train mode; every rank of the
        process group calls it and gets the version that rank 0 resolved. With ``fsdp``: sharded by ``fully_shard``,
        in train mode, each rank reading only its own part.

        Args:
            ref: ``"pointnet"``, ``"pointnet:v3"``, ``"pointnet:best"``, ``"pointnet@4be1"``.
            model: the caller's instance; or the class to build, itself or as ``"pkg.mod:Class"``. By default the stored
                class is built. That imports it, which is done only where the rule of trust allows it: naming the class
                here does, and so does ``REGISTRY_TRUST``.
            init: constructor arguments over the stored ones, key by key.
            init_as: how the class takes them, instead of as stored: ``"kwargs"``, ``"namespace"`` or ``"dict"``.
            device: where the model goes; by default the CPU, or the rank's device under ``ddp`` and ``fsdp``.
            rank: the process's rank; by default the process group's.
            allow_missing: patterns (``"head.*"``) of names that may keep their initial value.
            allow_unexpected: patterns of names in the version that may be left out.
            allow_shape: patterns of names that keep the model's own values where the version has another shape, such
                as the head of a model with another number of classes.
            cast: dtype of every floating-point tensor of the model; its name will do (``"bfloat16"``).
            verify: hash every byte ``"always"``, ``"once"`` for each file until it changes, or ``"never"``; with
                ``"outputs"`` hash every byte and run the version's example, too, and compare what the model computes.
            resident: read the weights into memory of this process, and check that memory. By default they stay mapped
                from the store, which costs no memory until they are trained, but feels what somebody does to the files.
            report: return ``(model, LoadReport)``.

        Raises:
            UntrustedClass: the stored class was not imported; the error says what would allow it.
            RegistryError: the caller's model is as it was. On any rank, on all ranks.
        """
        from registry.loading.load import deliver, deliver_to_ranks, order_for
        from registry.modules.anatomy import set_mode
        from registry.modules.building.process_state import uncollected
        from registry.modules.fitting.rollback import undone_on_failure
        from registry.modules.origin import set_origin

        def open_version(entry: Entry) -> OpenedVersion:
            return self.contents.open(entry, "always" if verify == "outputs" else verify, resident=resident)

        order = order_for(model, init, init_as, device, allow_missing, allow_unexpected, allow_shape, cast)
        with uncollected(), undone_on_failure(order.model if verify == "outputs" else None):
            if ddp or fsdp:
                loaded = deliver_to_ranks(lambda: self.get(ref), open_version, order, fsdp=fsdp, rank=rank)
            else:
                loaded = deliver(open_version(self.get(ref)), order)
                if order.model is None:
                    set_mode(loaded[0], training=False)
            if verify == "outputs":
                self._verify_outputs(loaded, cast, in_job=ddp or fsdp)
        set_origin(loaded[0], loaded[1].ref, loaded[1].digest)
        return loaded if report else loaded[0]

    @checked
    def state_dict(self, ref: str, *, verify: Verify = "always", resident: bool = False) -> dict[str, torch.Tensor]:
        """Return a version's weights by canonical name; tied names have one tensor, ``_extra_state`` its value.

        The tensors are mapped from the store, privately: writing to them reaches no file.

        Args:
            resident: read them into memory of this process instead, which nothing done to the files reaches.

        Raises:
            RegistryError: there is no such version, or its bytes are not what was stored.
        """
        from registry.tensors.values import decode

        entry = self.get(ref)
        manifest = self.contents.manifest(entry)
        tensors = self.contents.tensors(entry, manifest, verify, resident=resident)
        return {**tensors, **{name: decode(value) for name, value in manifest.values.items()}}

    @checked
    def get(self, ref: str) -> Entry:
        """Return a version's entry.

        Raises:
            RegistryError: the reference is malformed, or names nothing; with the nearest names.
        """
        return self.catalog.resolve(parse(ref))

    @checked
    def list(
        self, name: str | None = None, *, trashed: bool = False, limit: int | None = None, metric: str | None = None
    ) -> tuple[Entry, ...]:
        """Return the versions, the newest first.

        Args:
            name: only this model.
            trashed: those in the trash instead.
            limit: at most so many.
            metric: only versions with such a figure: ``"acc>=0.9"``.

        Raises:
            RegistryError: there is no such name, or the condition cannot be read.
        """
        condition = parse_condition(metric) if metric is not None else None
        return self.catalog.entries(name, trashed=trashed, limit=limit, metric=condition)

    @checked
    def log(self, ref: str | None = None, limit: int | None = None) -> tuple[Event, ...]:
        """Return the trail, the newest event first: of everything, or of one model."""
        return self.catalog.events(parse(ref).name if ref is not None else None, limit)

    @checked
    def replay(self, ref: str, *, model: nn.Module | None = None, cast: torch.dtype | None = None) -> Replay:
        """Run a version's example and compare what the model computes with what it computed when it was pushed.

        Args:
            model: an instance that holds the version's weights; by default it is loaded.
            cast: the dtype that ``model`` was cast to.

        Raises:
            NoExample: the version was pushed without one.
            RegistryError: it cannot be loaded, or not be run.
        """
        from registry.attachments.examples.replay import replay
        from registry.errors.outputs import NoExample

        entry = self.get(ref)
        enclosed = self.contents.enclosed(entry, "example")
        if enclosed is None:
            raise NoExample(entry.ref)
        return replay(entry.ref, enclosed, model if model is not None else self.load(entry.ref), cast=cast)

    @checked
    def diff(self, a: str, b: str) -> Difference:
        """Return what differs between two versions, tensor by tensor; equal tensors are not read.

        Raises:
            RegistryError: there is no such version, or its bytes are not what was stored.
        """
        from registry.upkeep.diff import changed_names, compare

        first, second = self.get(a), self.get(b)
        before, after = self.contents.manifest(first), self.contents.manifest(second)
        names = changed_names(before, after)
        old = self.contents.tensors(first, before.only(names))
        new = self.contents.tensors(second, after.only(names))
        return compare((first.ref, before), (second.ref, after), {name: (old[name], new[name]) for name in names})

    @checked
    def export(self, ref: str, out: str | os.PathLike[str], *, format: str | None = None) -> Path:
        """Write a version to a new file that other programs read.

        Args:
            format: by default what the suffix of ``out`` says: ``.safetensors``, or ``.pth`` and ``.pt`` for a file of
                torch. ``"safetensors"`` or ``"pth"`` with the canonical names; ``"ddp"`` or ``"compile"`` with those of
                the wrapped model; ``"as-saved"`` with those of the pushed file, bit for bit.

        Raises:
            RegistryError: the file exists, cannot be written, or the version's bytes are not what was stored.
        """
        from registry.loading.export import check_export, export, format_of

        format, path = format_of(out, format), check_export(out)
        entry = self.get(ref)
        manifest = self.contents.manifest(entry)
        return export(path, format, self.contents.tensors(entry, manifest), manifest, entry.unwrapping)

    # Keeping order

    @checked
    def alias(self, ref: str, alias: str) -> Entry:
        """Point an alias of the version's model to the version, wherever it pointed before.

        Raises:
            RegistryError: there is no such version, or the alias is no legal one.
        """
        entry = self.get(ref)
        self.catalog.set_alias(entry, alias)
        return self.get(entry.ref)

    @checked
    def unalias(self, name: str, alias: str) -> None:
        """Remove an alias of a model.

        Raises:
            RegistryError: there is no such alias.
        """
        self.catalog.drop_alias(name, alias)

    @checked
    def rm(self, ref: str, *, force: bool = False) -> Entry:
        """Put a version into the trash, from where ``restore`` takes it back until ``gc`` empties it.

        Args:
            force: also if aliases point there; they are dropped.

        Raises:
            RegistryError: there is no such version, or an alias points there.
        """
        entry = self.get(ref)
        self.catalog.trash(entry, force=force)
        return self.catalog.resolve(parse(entry.ref), trashed=True)

    @checked
    def restore(self, ref: str) -> Entry:
        """Take a version out of the trash.

        Raises:
            RegistryError: it is not there, or was collected.
        """
        entry = self.catalog.resolve(parse(ref), trashed=True)
        self.catalog.restore(entry)
        return self.get(entry.ref)

    @checked
    def gc(self, *, dry_run: bool = False, grace: timedelta = GRACE, progress: Progress | None = None) -> Collected:
        """Give up what has been in the trash for longer than ``grace``, and delete the files that nobody needs.

        Args:
            dry_run: only say what would go.
            progress: called with (bytes done, bytes in all).

        Raises:
            RegistryError: the home cannot be written.
        """
        return collect(self.catalog, self.store, grace=grace, dry_run=dry_run, progress=progress)

    @checked
    def audit(
        self,
        ref: str | None = None,
        *,
        classes: bool = False,
        run: bool = False,
        repair: bool = False,
        sources: Sequence[str | os.PathLike[str]] = (),
        progress: Progress | None = None,
    ) -> AuditReport:
        """Check that everything is as it was stored: every byte, every row, and the trail. No code of models runs.

        Args:
            ref: only this version, or all versions of this name; by default everything.
            classes: also import and build the classes, under the rule of trust, and compare names, shapes and dtypes.
            run: also run every example, under the same rule, and compare what the models compute with what they did.
            repair: put right what another stored copy or a source can restore, and quarantine the other damaged files.
            sources: files that were pushed once.
            progress: called with (bytes done, bytes in all).

        Raises:
            RegistryError: the reference names nothing, or a repair cannot write.
        """
        from registry.upkeep.audit import audit, audit_outputs
        from registry.upkeep.repair import check_sources
        from registry.upkeep.repair import repair as put_right

        check_sources(sources)
        of = None if ref is None else parse(ref)
        report = audit(self.catalog, self.store, self._audited(ref), of=of, classes=classes, progress=progress)
        if repair and not report.is_clean:
            repaired = put_right(self.catalog, self.store, report, sources)
            report = audit(self.catalog, self.store, self._audited(ref), of=of, classes=classes, progress=progress)
            report = replace(report, repaired=repaired)
        return audit_outputs(report, self._audited(ref), self.replay) if run else report

    @checked
    def doctor(self) -> tuple[Finding, ...]:
        """Return what the registry stands on (file system, database, versions, leftovers), with what to do about it."""
        from registry.upkeep.doctor import examine_home

        return examine_home(self.home, self.catalog, self.store)

    # Words that are shared by the verbs

    def _name_of(self, name: str) -> str:
        """Return the name of a model that exists, or one that a new model may bear."""
        return name if is_named_like_a_file(name) and self.catalog.knows(name) else check_new_model_name(name)

    def _submission(
        self,
        source: Source,
        draft: Draft,
        question: Question,
        parent: str | None,
        training: tuple[Any, ...],
        **rest: Any,
    ) -> Submission:
        """Return what is pushed."""
        from registry.pushing.push import Submission

        job = None
        if any(part is not None for part in training):
            from registry.attachments.training.job import Job

            if isinstance(source, (str, os.PathLike, Mapping)):
                raise JobNeedsModel(draft.name)
            job = Job(*training)
        resolve = (lambda: None) if parent is None else (lambda: self.get(parent).ref)
        return Submission(source, draft, question, job, parent=resolve, **rest)

    def _audited(self, ref: str | None) -> tuple[Entry, ...]:
        if ref is None:
            return (*self.catalog.entries(), *self.catalog.entries(trashed=True))
        reference = parse(ref)
        return self.catalog.entries(reference.name) if reference.is_name else (self.catalog.resolve(reference),)

    def _verify_outputs(self, loaded: tuple[nn.Module, LoadReport], cast: torch.dtype | None, *, in_job: bool) -> None:
        from registry.ranks.collective import together

        def verify() -> None:
            self.replay(loaded[1].ref, model=loaded[0], cast=cast).require()

        if in_job:
            together(f"verifying the outputs of {loaded[1].ref}", verify)
        else:
            verify()


@cache
def _registry_at(home: Path) -> Registry:
    return Registry(home)


def default_registry() -> Registry:
    """Return the registry of the home that ``REGISTRY_HOME`` names now, or of the user's data directory."""
    return _registry_at(settings.home())
