"""The verbs, each in the order in which its work is done. This module conducts; the words are elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat, SupportsIndex, TypedDict, Unpack, cast, overload

from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.catalog.grammar import parse as parse_query
from registry.catalog.listing import Models
from registry.catalog.moments import moment
from registry.catalog.page import Page
from registry.catalog.renaming import Renamed
from registry.catalog.trail import Events, Only
from registry.catalog.trash import Removed
from registry.errors.catalog import CannotRollBack, NameIsNoVersion
from registry.home.arguments import checked, widely
from registry.home.home import Home, LoadVerify
from registry.home.place import HomePlace, home_place
from registry.reference import parse
from registry.upkeep.gc import GRACE, Collected, gc

if TYPE_CHECKING:
    from argparse import Namespace

    import torch
    from torch import nn

    from registry.attachments.examples.replay import Replay
    from registry.attachments.stateful import Stateful
    from registry.blobs.store import BlobStore, Verify
    from registry.blobs.writer import Progress
    from registry.catalog.tokens import NewToken, Token
    from registry.copying.moving import MoveReport
    from registry.copying.report import CopyReport
    from registry.importing.report import ImportReport
    from registry.inspection import Inspection
    from registry.loading.check import CheckReport
    from registry.loading.resume import Resumed
    from registry.modules.fitting.report import LoadReport
    from registry.pushing.background import PendingEntry
    from registry.upkeep.audit import AuditReport
    from registry.upkeep.blame import BlameReport
    from registry.upkeep.diff import Difference
    from registry.upkeep.doctor import Finding
    from registry.upkeep.prune import PruneReport

    Source = str | os.PathLike[str] | nn.Module | Mapping[str, Any] | Sequence[nn.Module]
    Live = nn.Module | Mapping[str, nn.Module] | Sequence[nn.Module]
    Classes = str | Callable[..., nn.Module] | Mapping[str, str | Callable[..., nn.Module]]
    Sets = str | Sequence[str] | Mapping[str, str]
    Several = list[str | Entry] | list[str] | list[Entry] | tuple[str | Entry, ...]

    class PushOptions(TypedDict, total=False):
        """The arguments of a push that do not decide what it returns."""

        from_: str | None
        model: Classes | None
        init: Mapping[str, Any] | Namespace | None
        init_as: str | None
        init_from_file: bool
        weights: Sets | None
        allow_unexpected: Sequence[str]
        world_size: SupportsIndex | None
        metrics: Mapping[str, SupportsFloat] | None
        tags: Mapping[str, str] | None
        aliases: Sequence[str]
        parent: str | Entry | None
        note: str
        force_new: bool
        optimizer: torch.optim.Optimizer | None
        scheduler: Stateful | None
        scaler: Stateful | None
        step: SupportsIndex | None
        epoch: SupportsIndex | None
        state: Mapping[str, Stateful] | None
        run: str | None
        example: object
        builder: str | None
        base: str | Entry | None
        with_base: bool
        timeout: timedelta | float
        progress: Progress | None

    class LoadOptions(TypedDict, total=False):
        """The arguments of a load that do not decide what it returns."""

        part: str | None
        model: Live | type[nn.Module] | str | Mapping[str, type[nn.Module] | str] | None
        init: Mapping[str, Any] | Namespace | None
        init_as: str | None
        device: str | int | torch.device | None
        ddp: bool
        fsdp: bool
        rank: int | None
        allow_missing: Sequence[str]
        allow_unexpected: Sequence[str]
        allow_shape: Sequence[str]
        cast: torch.dtype | str | None
        verify: LoadVerify
        resident: bool
        progress: Progress | None
        base: str | Entry | None
        timeout: timedelta | float


TIMEOUT = timedelta(minutes=10)
"""How long the ranks of a job wait for each other in a push, and in a load."""


class Registry:
    """A registry in one folder, or at a server. Its methods are the verbs.

    The first version that is stored creates it. Until then, every verb that reads raises ``NoRegistry``.

    Args:
        home: the folder, or the URL of a server (``"http://hub:8080"``); by default ``REGISTRY_HOME``, else the user's
            data directory.
        notify: called with what there is to say besides what a verb returns: that a model is called otherwise now than
            the reference has it. ``get(ref).notices`` and the report of a ``load`` say it, too.
    """

    @checked
    def __init__(
        self, home: str | os.PathLike[str] | None = None, *, notify: Callable[[str], None] | None = None
    ) -> None:
        place = home_place(home)
        self._home = Home(place.address, notify, place.source)

    def __repr__(self) -> str:
        return f"Registry({str(self.address)!r})"

    @property
    def address(self) -> Path | str:
        """Where it is: the folder, or the URL of the server."""
        return self._home.address

    @property
    def home(self) -> Path:
        """The folder; of a served registry, that of its cache on this machine."""
        return self._home.folder

    @property
    def cache(self) -> Path | None:
        """The folder that what is in a bucket is mapped from; None where the blobs are not in one."""
        return self._home.cache

    @property
    def catalog(self) -> Catalog:
        """What is known of the versions; of a served registry, what can be asked from here.

        Raises:
            NoRegistry: there is none.
        """
        return cast("Catalog", self._home.catalog)

    @property
    def store(self) -> BlobStore:
        """The bytes."""
        return self._home.blobs

    def close(self) -> None:
        """Let go of the database or the connections; the next verb opens them again."""
        self._home.close()

    # Putting in

    @overload
    def push(
        self, source: Source, name: str | None = ..., *, blocking: Literal[True] = ..., **options: Unpack[PushOptions]
    ) -> Entry: ...

    @overload
    def push(
        self, source: Source, name: str | None = ..., *, blocking: Literal[False], **options: Unpack[PushOptions]
    ) -> PendingEntry: ...

    @widely
    def push(
        self,
        source: Source,
        name: str | None = None,
        *,
        from_: str | None = None,
        model: str | Callable[..., nn.Module] | Mapping[str, Any] | None = None,
        init: Mapping[str, Any] | Namespace | None = None,
        init_as: str | None = None,
        init_from_file: bool = False,
        weights: str | Mapping[str, str] | None = None,
        allow_unexpected: Sequence[str] = (),
        world_size: int | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        aliases: Sequence[str] = (),
        parent: str | None = None,
        note: str = "",
        force_new: bool = False,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Stateful | None = None,
        scaler: Stateful | None = None,
        step: int | None = None,
        epoch: int | None = None,
        state: Mapping[str, Stateful] | None = None,
        run: str | None = None,
        example: object = None,
        builder: str | None = None,
        base: str | None = None,
        with_base: bool = False,
        blocking: bool = True,
        timeout: timedelta = TIMEOUT,
        progress: Progress | None = None,
    ) -> Entry | PendingEntry:
        """Store a checkpoint in canonical form as the next version of ``name``.

        In a job of several processes every rank calls it with its live model: one writes, all get the same entry, and
        what fails on one raises on all.

        Args:
            source: a file, a folder, a state dict, or a live module, wrapped or not. A dict of live modules is one
                version with several **parts**, exactly as their ``torch.nn.ModuleDict`` is: each is unwrapped by
                itself, and its names stand below the part's (``img.conv.weight``). In a list they are ``"0"``, ``"1"``.
            name: the model's name; by default the file's stem.
            from_: the wrapper it was trained in: ``"ddp"``, ``"compile(ddp)"``, ``"single"``.
            model: its class, or ``"pkg.mod:Class"``, which then judges the names; of several parts of a file a dict of
                these by part. So is ``init`` then: ``{"img": {"width": 64}}``.
            init: what the class is constructed with, by name; by default what was remembered on the live module, and of
                a file nothing. A ``Namespace`` is what the class takes as its only argument. Beside others, it stands
                under the name of its parameter: ``{"args": args, "num_classes": 40}``; what has no name, in a list
                under ``"*"``.
            init_as: how the class takes them: ``"kwargs"`` (the default), ``"namespace"`` or ``"dict"``.
            init_from_file: take what the file says of itself (``hyper_parameters``), too, where ``init`` does not. Its
                writer then chooses what the class is called with.
            weights: which set of weights, where the file holds several: any path in it, such as ``"ema.model"`` or
                ``"heads.0"``; ``"."`` is all of it. A list is several parts, called after the last step of each path;
                a dict names them: ``{"img": "models.image"}``.
            allow_unexpected: patterns (``"loss.*"``) of names that are not stored where the class does not have them.
            world_size: number of processes that trained it.
            metrics: finite numbers by name.
            tags: words by name: ``{"task": "seg"}``.
            aliases: movable names to point at the version.
            parent: reference of the version it was trained from.
            note: free text.
            force_new: make another version even if the name has these weights already.
            example: inputs to run the model on (a tensor, a tuple of tensors, a dict of keyword tensors); they are
                stored with the outputs, which ``load(..., verify="outputs")`` compares.
            optimizer: of a live model; its state is stored beside the weights, keyed by parameter name, for ``resume``.
                So are the states of ``scheduler`` and ``scaler``, and ``step`` and ``epoch``.
            state: what else of the training loop has ``state_dict()`` and ``load_state_dict()``, by a name of yours:
                ``{"loader": loader}``. Of a job's ranks it is kept as the one has it that writes.
            run: id of the training run that pushes it; retention goes by it.
            builder: the library that makes the model of its configuration: ``"transformers"``, ``"diffusers"``,
                ``"timm"`` or ``"peft"``; by default the one that wrote the folder or made the model, where it makes
                that very model. ``"none"`` stores the weights and the files beside them without one.
            base: reference of the version that an adapter of PEFT is of; of a live one by default the version here that
                has the weights of its base.
            with_base: store the base of a live adapter, too, as ``NAME-base``, where it is not here.
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
        from registry.attachments.attachment import Job
        from registry.inspection import Question
        from registry.pushing.push import push, push_later
        from registry.pushing.request import PushRequest

        given: Any = source  # several live models are one here
        request = PushRequest(
            given,
            name,
            Question.of(from_, model, init, init_as, weights, init_from_file, builder, allow_unexpected),
            timeout,
            world_size=world_size,
            metrics=metrics or {},
            tags=tags or {},
            aliases=tuple(aliases),
            parent=parent,
            note=note,
            force_new=force_new,
            loop=Job(optimizer, scheduler, scaler, step, epoch, state or {}),
            run=run,
            example=example,
            base=base,
            with_base=with_base,
            progress=progress,
        )
        return push(self._home, request) if blocking else push_later(self._home, request)

    @checked
    def import_folder(
        self,
        folder: str | os.PathLike[str],
        *,
        name: str | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> ImportReport:
        """Push every checkpoint in a folder and below it: each file, and each folder that is one checkpoint.

        Files whose canonical names and shapes are equal become versions of one model, the oldest file first. It is
        named after the folder that they share, else after the file. Metrics that a file says of itself (``best_acc``,
        ``epoch``) come with it; nothing is built, and nothing of a file is run. What was pushed before is not pushed
        again, so a run that was interrupted is resumed by another.

        Args:
            name: of the one model that everything becomes; otherwise each model gets a name of its own.
            dry_run: report what would come of it, and push nothing.
            progress: called with (bytes done, bytes in all).

        Returns:
            An ``ImportReport`` with a line for each file. A file that cannot be taken stops nothing: its line says
            why, and ``is_complete`` is then false.

        Raises:
            MixedModels, OtherModel: it cannot become one model called ``name``; nothing was pushed.
            RegistryError: there is no such folder, or the home cannot be written.
        """
        from registry.importing.intake import import_folder

        return import_folder(self._home, folder, name, dry_run=dry_run, progress=progress)

    @checked
    def resume(
        self,
        ref: str | Entry,
        model: Live,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Stateful | None = None,
        scaler: Stateful | None = None,
        *,
        state: Mapping[str, Stateful] | None = None,
        part: str | None = None,
        verify: Verify = "always",
    ) -> Resumed:
        """Bring a job back to where a version was pushed: weights, optimizer, scheduler, scaler, random generators.

        The model may be bare, under DDP or FSDP2, on any number of ranks; in a job every rank calls it. Optimizer state
        goes by parameter name, so the parameters may be registered in another order. Random generators are put back
        where one process pushed and one resumes.

        Args:
            model: the caller's, which keeps its parameter objects; of a version with several parts a dict of them.
            optimizer: over the parameters of this model, or of all parts; likewise ``scheduler`` and ``scaler``, as
                they were pushed.
            state: what else to bring back, by the names under which it was pushed: ``{"loader": loader}``.
            part: of a version with several parts, the one to go on with alone; the optimizer is over its parameters.

        Raises:
            RegistryError: nothing was changed; what fails on one rank raises on all.
        """
        from registry.attachments.attachment import Job
        from registry.loading.resume import resume

        module: Any = model
        return resume(self._home, str(ref), module, Job(optimizer, scheduler, scaler, state=state or {}), verify, part)

    @checked
    def inspect(
        self,
        source: Source,
        *,
        from_: str | None = None,
        model: Classes | None = None,
        init: Mapping[str, Any] | Namespace | None = None,
        init_as: str | None = None,
        init_from_file: bool = False,
        weights: Sets | None = None,
        allow_unexpected: Sequence[str] = (),
        builder: str | None = None,
    ) -> Inspection:
        """Return what a push of this checkpoint would store, without storing it.

        Raises:
            RegistryError: as ``push`` does.
        """
        from registry.inspection import Question
        from registry.pushing.push import inspect

        given: Any = source, weights
        asked = Question.of(from_, model, init, init_as, given[1], init_from_file, builder, allow_unexpected)
        return inspect(given[0], asked)[0]

    @checked
    def check(
        self,
        module: Live | str | os.PathLike[str] | Entry,
        ref_or_path: str | os.PathLike[str] | Entry,
        *,
        names: Sequence[str] | None = None,
        weights: Sets | None = None,
        part: str | None = None,
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
            weights: which set of weights, where the file holds several; or those of its parts, as a push takes them.
            part: of a version with several parts, the one to compare, by its own names.

        Returns:
            The report; ``report.require()`` raises ``WeightsDiffer`` unless ``report.is_equal``.

        Raises:
            RegistryError: there is no such version or file, or it cannot be read.
        """
        from registry.loading.counterparts import check

        sides: tuple[Any, Any] = module, ref_or_path
        sets: Any = weights
        return check(self._home, *sides, names, sets, part)

    # Taking out

    @overload
    def load(self, ref: str | Entry, *, report: Literal[False] = ..., **options: Unpack[LoadOptions]) -> nn.Module: ...

    @overload
    def load(
        self, ref: str | Entry, *, report: Literal[True], **options: Unpack[LoadOptions]
    ) -> tuple[nn.Module, LoadReport]: ...

    @widely
    def load(
        self,
        ref: str,
        *,
        part: str | None = None,
        model: nn.Module | type[nn.Module] | str | Mapping[str, Any] | None = None,
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
        progress: Progress | None = None,
        base: str | None = None,
        timeout: timedelta = TIMEOUT,
        report: bool = False,
    ) -> Any:
        """Return a ready model made from a version, or put the version into the caller's model.

        Without ``ddp`` and ``fsdp``: the bare module on one device, in eval mode (the caller's own ``model`` keeps its
        mode). With ``ddp``: a ``DistributedDataParallel`` on the rank's device, in train mode; every rank of the
        process group calls it and gets the version that rank 0 resolved. With ``fsdp``: sharded by ``fully_shard``,
        in train mode, each rank reading only its own part.

        Of a version with several parts it is a dict of their modules, each as above, unless one ``part`` is asked for.

        Args:
            ref: ``"pointnet"``, ``"pointnet:v3"``, ``"pointnet:best"``, ``"pointnet:best@2026-11-01"`` (what the alias
                was when that day ended in UTC), ``"pointnet@4be1"``; or an entry.
            part: of a version with several parts, the one to load: that module alone, by its own names.
            model: the caller's instance; or the class to build, itself or as ``"pkg.mod:Class"``. By default the stored
                class is built. That imports it, which is done only where the rule of trust allows it: naming the class
                here does, and so does ``REGISTRY_TRUST``. Of several parts, a dict of instances, all or none of which
                get their weights, or of classes.
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
            progress: called with (bytes done, bytes in all) while they are hashed.
            base: of an adapter of PEFT: reference of the version that it is put on; by default any that has the weights
                that it was pushed with.
            timeout: how long the ranks wait for each other with ``ddp`` and ``fsdp``; a number is one of seconds.
            report: return ``(model, LoadReport)``.

        Raises:
            UntrustedClass: the stored class was not imported; the error says what would allow it.
            RegistryError: the caller's model is as it was. On any rank, on all ranks.
        """
        begun = None
        is_as_recorded = model is None and init is None and init_as is None
        if "torch" not in sys.modules and is_as_recorded and not (ddp or fsdp):  # hashed while it is imported
            entry = self._home.part(self._home.resolve(ref), part)
            begun = self._home.open(entry, verify, resident=resident, progress=progress)
        from registry.loading.load import LoadRequest, load

        request = LoadRequest.of(
            model,
            init,
            init_as,
            device=device,
            ddp=ddp,
            fsdp=fsdp,
            rank=rank,
            allow_missing=allow_missing,
            allow_unexpected=allow_unexpected,
            allow_shape=allow_shape,
            cast=cast,
            verify=verify,
            resident=resident,
            progress=progress,
            base=base,
            part=part,
            seconds=timeout.total_seconds(),
        )
        loaded = load(self._home, ref, request, begun)
        return loaded if report else loaded[0]

    @checked
    def state_dict(
        self, ref: str | Entry, *, part: str | None = None, verify: Verify = "always", resident: bool = False
    ) -> dict[str, torch.Tensor]:
        """Return a version's weights by canonical name; tied names have one tensor, ``_extra_state`` its value.

        The tensors are mapped from the store, privately: writing to them reaches no file.

        Args:
            part: of a version with several parts, the one whose weights are wanted, by its own names.
            resident: read them into memory of this process instead, which nothing done to the files reaches.

        Raises:
            RegistryError: there is no such version, or its bytes are not what was stored.
        """
        from registry.tensors.decoding import decode

        entry = self._home.part(self.get(ref), part)
        manifest = self._home.manifest(entry)
        tensors = self._home.tensors(entry, manifest, verify, resident=resident)
        return {**tensors, **{name: decode(value) for name, value in manifest.values.items()}}

    @checked
    def get(self, ref: str | Entry) -> Entry:
        """Return a version's entry.

        Raises:
            RegistryError: the reference is malformed, or names nothing; with the nearest names.
        """
        return self._home.resolve(str(ref))

    @checked
    def card(self, name: str, text: str | None = None) -> str | None:
        """Return the card of a model: what its users should know, in Markdown; or None where it has none.

        Args:
            text: the card from now on; an empty text takes it away. What it was stays in the trail. A push of a folder
                with a ``README.md`` sets it, too.

        Raises:
            RegistryError: there is no such name, or the text is too long.
        """
        if text is not None:
            self.catalog.set_card(name, text)
        return self.catalog.card(name)

    @checked
    def list(
        self, query: str | None = None, *, trashed: bool = False, limit: int | None = None, after: str | None = None
    ) -> Page:
        """Return the versions that a query asks for, the newest first or as it sorts them.

        A notebook shows them as a table; ``to_frame()`` makes a data frame of them, where pandas is installed.
        ``"pointnet"``, ``"team/* acc>=0.9 tag:task=seg sort:-acc"``: docs/search.md has the language.

        Args:
            query: what all of them have; by default all versions.
            trashed: those in the trash instead.
            limit: at most this many.
            after: the ``next`` of the page before, to continue after it.

        Returns:
            A tuple of entries; its ``next`` is the token of the page that follows, or None.

        Raises:
            InvalidQuery, UnknownField: the query cannot be read; with the place in it.
            UnknownModel: there is no such model; with the nearest names.
            UnusablePageToken: ``after`` is not a token of this query.
        """
        return self._home.search(parse_query(query or ""), trashed=trashed, limit=limit, after=after)

    @checked
    def models(self, name: str | None = None) -> Models:
        """Return the models that have a version outside the trash, by name.

        Args:
            name: only this one, or those that fit a pattern: ``"team/*"``.

        Raises:
            UnknownModel: there is none of this name; with the nearest names.
        """
        return Models(self.catalog.models(name))

    @checked
    def log(
        self,
        ref: str | Entry | None = None,
        limit: int | None = None,
        *,
        verb: str | None = None,
        by: str | None = None,
        after: str | date | None = None,
        before: str | date | None = None,
    ) -> Events:
        """Return the trail, the newest event first: of everything, or of one model, by whatever name it has and had.

        Args:
            verb: only events of this kind: ``"push"``, ``"alias"``, ``"tag"``, ``"rename"``.
            by: only events of this actor: ``"user@host"``, or ``"user"`` on any host.
            after: only from the beginning of this day on (``"2026-11-01"``), or from this moment on, in UTC.
            before: only until the beginning of this day, or until this moment.

        Raises:
            RegistryError: there is no such name or verb, or what is given is not a time.
        """
        only = Only(verb, by, None if after is None else moment(after), None if before is None else moment(before))
        name = self._home.current(parse(str(ref)).name) if ref is not None else None
        return Events(self.catalog.events(name, limit, only))

    @checked
    def replay(self, ref: str | Entry, *, model: nn.Module | None = None, cast: torch.dtype | None = None) -> Replay:
        """Run a version's example and compare what the model computes with what it computed when it was pushed.

        Args:
            model: an instance that holds the version's weights; by default it is loaded.
            cast: the dtype that ``model`` was cast to.

        Raises:
            NoExample: the version was pushed without one.
            RegistryError: it cannot be loaded, or not be run.
        """
        from registry.loading.load import replay_version

        return replay_version(self._home, self.get(ref), model, cast)

    @checked
    def diff(self, a: str | Entry, b: str | Entry) -> Difference:
        """Return what differs between two versions, tensor by tensor; equal tensors are not read.

        Raises:
            RegistryError: there is no such version, or its bytes are not what was stored.
        """
        from registry.upkeep.diff import diff

        return diff(self._home, str(a), str(b))

    @checked
    def export(
        self,
        ref: str | Entry,
        out: str | os.PathLike[str],
        *,
        format: str | None = None,
        part: str | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Write a version to a new file, or with ``"hf"`` to a new folder, that other programs read.

        Args:
            format: by default what the suffix of ``out`` says: ``.safetensors``, or ``.pth`` and ``.pt`` for a file of
                torch. ``"hf"`` is what ``from_pretrained`` loads: weights, configurations, tokenizer and card.
                ``"safetensors"`` or ``"pth"`` with the canonical names; ``"ddp"`` or ``"compile"`` with those of
                the wrapped model; ``"as-saved"`` with those of the pushed file, bit for bit. A safetensors file has the
                same bytes for the same weights and ties, whoever exports it.
            part: of a version with several parts, the one to write, by its own names.
            progress: called with (bytes done, bytes in all).

        Raises:
            RegistryError: the file exists, cannot be written, or the version's bytes are not what was stored.
        """
        from registry.loading.export import export

        return export(self._home, str(ref), out, format, progress, part)

    @checked
    def copy(
        self,
        refs: str | os.PathLike[str] | Entry | Sequence[str | os.PathLike[str] | Entry] | None,
        to: str | os.PathLike[str] | None = None,
        *,
        name: str | None = None,
        update: bool = False,
        without_base: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> CopyReport:
        """Copy versions with everything that belongs to them to another home, into a bundle, or out of one.

        A version is the same wherever it lies; where it is there already, nothing is written but the metrics, tags,
        note and aliases that it lacks. It keeps its number where that is free and larger than all of the model there,
        and gets the next one otherwise. What the trail here tells of it becomes its history there.

        Args:
            refs: references (a bare name is all its live versions) and bundles (``"x.bundle"``) to take in; None for
                everything that is live here.
            to: a folder (a text with a ``/``, ``"."``, or a path), the URL of a server, or a file whose name ends in
                ``.bundle``; by default bundles are taken into this home.
            name: the model's name there, instead of its own.
            update: where metrics, tags, notes and aliases differ, take those of the source; otherwise those there stay.
            without_base: leave out the versions whose weights these are adapters of.
            dry_run: report what would be copied, and copy nothing.
            progress: called with (bytes done, bytes in all).

        Raises:
            DamagedBundle: a bundle is not as it was written; nothing was taken from it.
            RegistryError: the copy stopped at a version; those before it are there, whole, and a second call goes on.
        """
        from registry.copying.copy import copy

        given = cast("Sequence[str | os.PathLike[str]] | None", refs)
        return copy(
            self._home,
            given,
            to,
            name=name,
            update=update,
            without_base=without_base,
            dry_run=dry_run,
            progress=progress,
        )

    # Keeping order

    @checked
    def alias(self, ref: str | Entry, alias: str) -> Entry:
        """Point an alias of the version's model to the version, wherever it pointed before.

        Raises:
            RegistryError: there is no such version, or the alias is not a legal one.
        """
        entry = self.get(ref)
        self.catalog.set_alias(entry, alias)
        return self.get(entry.ref)

    @checked
    def rollback(self, ref: str) -> Entry:
        """Point an alias to where it pointed before, as the trail tells it, and return that version.

        Called again, it goes one further back, as one undoes. An alias that was removed points where it pointed last.

        Args:
            ref: ``"pointnet:best"``.

        Raises:
            CannotRollBack: it pointed nowhere else before, or where it pointed is in the trash or gone.
        """
        reference = parse(ref)
        if reference.alias is None or reference.day is not None:
            raise CannotRollBack(ref, f"it is not an alias; write {reference.name}:ALIAS")
        name = self._home.current(reference.name)
        return self.catalog.roll_back(name, reference.alias)

    @checked
    def tag(self, ref: str | Entry, tags: Mapping[str, str] | None = None, *, remove: Sequence[str] = ()) -> Entry:
        """Set or remove tags of a version, and return it; ``notices`` say which were something else before.

        Args:
            tags: words by name: ``{"task": "seg"}``.
            remove: names of tags to remove.

        Raises:
            RegistryError: there is no such version or tag, or one cannot be stored; nothing was changed.
        """
        entry = self.get(ref)
        return self.catalog.add_facts(entry, tags=tags, remove_tags=remove, verb="tag")

    @checked
    def annotate(
        self,
        ref: str | Entry,
        *,
        metrics: Mapping[str, float] | None = None,
        note: str = "",
        remove: Sequence[str] = (),
    ) -> Entry:
        """Add to what is known of a version, and return it; ``notices`` say which metrics were something else before.

        Args:
            metrics: finite numbers by name.
            note: free text, added below the note that is there.
            remove: names of metrics to remove.

        Raises:
            RegistryError: there is no such version or metric, or one cannot be stored; nothing was changed.
        """
        entry = self.get(ref)
        return self.catalog.add_facts(entry, metrics=metrics, note=note, remove_metrics=remove, verb="annotate")

    @checked
    def rename(self, old: str, new: str) -> Renamed:
        """Give a model another name. Its versions, aliases and history stay as they are, and the old name finds them.

        Nothing can be pushed to the old name from then on, and no other model is ever called so.

        Raises:
            RegistryError: there is no such model, or it cannot be called so.
        """
        return self.catalog.rename(old, new)

    @checked
    def unalias(self, name: str, alias: str) -> None:
        """Remove an alias of a model.

        Raises:
            RegistryError: there is no such alias.
        """
        current = self._home.current(name)
        self.catalog.drop_alias(current, alias)

    @checked
    def rm(self, ref: str | Entry | Several, *, force: bool = False, all_versions: bool = False) -> Removed:
        """Put versions into the trash, all or none, from where ``restore`` takes them back until ``gc`` empties it.

        Args:
            ref: one reference, or several.
            force: also if aliases point there, which are dropped until a ``restore``, or if it is the base of adapters
                that stay.
            all_versions: the references are names of models, of which every version goes.

        Returns:
            The entries, whose ``notices`` say which aliases were dropped, and how many bytes a ``gc`` frees that
            empties the trash of them.

        Raises:
            NameIsNoVersion: a bare name was given without ``all_versions``, or something else with it.
            RegistryError: one of them is not there, or is needed; nothing was removed.
        """
        given = (str(ref),) if isinstance(ref, str | Entry) else tuple(map(str, ref))
        for each in given:
            if (parse(each).is_name and ":" not in each) != all_versions:
                raise NameIsNoVersion(each, all_versions)
        entries = tuple(each for name in given for each in self._live(name)) if all_versions else self._each(given)
        trashed = self.catalog.trash(*entries, force=force)
        gone = [self.catalog.resolve(entry.ref, trashed=True) for entry in entries]
        dropped = [[f"{entry.name}:{alias} was dropped" for alias in trashed.aliases[entry.ref]] for entry in gone]
        return Removed(
            tuple(replace(entry, notices=(*entry.notices, *said)) for entry, said in zip(gone, dropped, strict=True)),
            trashed.nbytes,
        )

    @overload
    def restore(self, ref: str | Entry) -> Entry: ...

    @overload
    def restore(self, ref: Several) -> tuple[Entry, ...]: ...

    @checked
    def restore(self, ref: str | Entry | Several) -> Entry | tuple[Entry, ...]:
        """Take versions out of the trash, all or none, and return the entry of one reference, or those of several.

        The aliases that ``rm`` dropped point to them again, but for those that point elsewhere by now; ``notices`` say
        which.

        Raises:
            RegistryError: one of them is not there, or was collected; nothing was restored.
        """
        found = self.catalog.restore(*self._each(ref, trashed=True))
        return found[0] if isinstance(ref, str | Entry) else found

    @checked
    def prune(
        self,
        name: str,
        *,
        keep_last: int | None = None,
        keep_best: Sequence[str] = (),
        keep_aliased: bool = False,
        keep_tags: Sequence[str] = (),
        keep_within: timedelta | str | float | None = None,
        dry_run: bool = True,
    ) -> PruneReport:
        """Say which versions of a model no rule keeps, and with ``dry_run=False`` put these into the trash.

        A version stays if one of the rules keeps it. Whatever they say, the newest version stays, and so do those that
        an alias points to, and the parents and bases of those that stay. Nothing is ever pruned by itself.

        Args:
            name: the model's.
            keep_last: this many of the newest.
            keep_best: the best by a metric: ``"acc:3"`` for the three highest, ``"loss:3:min"`` for the three lowest.
                The direction is never read out of the metric's name.
            keep_aliased: those that an alias points to, and as the only rule nothing else.
            keep_tags: those with a tag: ``"release"``, or ``"task=seg"``.
            keep_within: those that were pushed in the last ``"30d"`` (``s``, ``m``, ``h``, ``d``, ``w``); or a
                ``timedelta``, or a number of seconds.
            dry_run: report what would go, and remove nothing.

        Returns:
            The report: what stays and why, what goes, and how many bytes ``gc`` frees then.

        Raises:
            RegistryError: there is no rule, or no version has its metric, or no such name; nothing was removed.
        """
        self._home.require_folder("prune")
        from registry.upkeep.prune import prune
        from registry.upkeep.retention import Best, Rules

        best = tuple(Best.of(rule) for rule in keep_best)
        within: Any = keep_within
        rules = Rules(keep_last, best, keep_aliased, tuple(keep_tags), within)
        return prune(self._home, name, rules, dry_run=dry_run)

    @checked
    def blame(self, ref: str | Entry, pattern: str | None = None) -> BlameReport:
        """Return for each tensor of a version which version introduced it, along the parents.

        Args:
            pattern: only tensors whose names match: ``"encoder.*"``.

        Raises:
            RegistryError: there is no such version, or it has no such tensor.
        """
        from registry.upkeep.blame import blame

        return blame(self._home, str(ref), pattern)

    @checked
    def gc(
        self, *, dry_run: bool = False, grace: timedelta | str | float = GRACE, progress: Progress | None = None
    ) -> Collected:
        """Give up what has been in the trash for longer than ``grace``, and delete the files that nobody needs.

        Args:
            dry_run: report what would go, and remove nothing.
            grace: ``"7d"`` (``s``, ``m``, ``h``, ``d``, ``w``), a ``timedelta``, or a number of seconds.
            progress: called with (bytes done, bytes in all).

        Raises:
            RegistryError: the home cannot be written.
        """
        self._home.require_folder("gc")
        longer_than: Any = grace
        return gc(self._home, grace=longer_than, dry_run=dry_run, progress=progress)

    @checked
    def audit(
        self,
        ref: str | Entry | None = None,
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
            repair: restore what another stored copy or a source has, and quarantine the other damaged files.
            sources: files that were pushed once.
            progress: called with (bytes done, bytes in all).

        Raises:
            RegistryError: the reference names nothing, or a repair cannot write.
        """
        self._home.require_folder("audit")
        from registry.upkeep.audit import audit, audit_outputs, audited, remember
        from registry.upkeep.repair import check_sources, repair as put_right

        check_sources(sources)
        asked = None if ref is None else str(ref)
        report = audit(self._home, asked, classes=classes, progress=progress)
        if repair and not report.is_clean:
            repaired = put_right(self._home, report, sources)
            report = replace(audit(self._home, asked, classes=classes, progress=progress), repaired=repaired)
        report = audit_outputs(self._home, report, audited(self._home, asked)) if run else report
        remember(self._home, asked, report)
        return report

    def _each(self, refs: str | Entry | Several, *, trashed: bool = False) -> tuple[Entry, ...]:
        """Return the versions that references name, each once."""
        given = (refs,) if isinstance(refs, str | Entry) else refs
        found = (self._home.resolve(str(ref), trashed=trashed) for ref in given)
        return tuple({entry.identity: entry for entry in found}.values())

    def _live(self, name: str) -> tuple[Entry, ...]:
        """Return the versions of a model, of which there is one."""
        return self.catalog.entries(self._home.current(name)) or (self._home.resolve(name),)

    @checked
    def doctor(self) -> tuple[Finding, ...]:
        """Check the file system, database, versions and leftovers of the registry, and return each with a fix."""
        self._home.require_folder("doctor")
        from registry.upkeep.doctor import doctor

        return doctor(self._home)

    # Where it is

    @checked
    def init(
        self, *, catalog: str | None = None, blobs: str | None = None, cache: str | os.PathLike[str] | None = None
    ) -> None:
        """Make the registry, for its parts to be elsewhere than in its folder; once more with the same does nothing.

        Args:
            catalog: the address of a PostgreSQL database, ``"postgresql://USER:PASSWORD@HOST/DATABASE"``, or
                ``"env:NAME"`` for the environment variable that has it; by default SQLite in the folder.
            blobs: the URL of a bucket, ``"s3://BUCKET/PREFIX"``; by default files in the folder.
            cache: the folder on a disk of this machine in which what is in the bucket is mapped.

        Raises:
            HomeConfigured: there is another one already.
            InvalidDatabaseAddress, InvalidConfiguration, ExtraMissing: it cannot be made like this.
            DatabaseUnreachable, ObjectsUnreachable, HomeUnusable: a part does not answer; nothing was written.
        """
        from registry.home.configuration import Configuration
        from registry.home.making import make_home

        self._home.require_folder("init")
        folder = None if cache is None else str(Path(cache).expanduser().absolute())
        self.close()
        make_home(self._home.folder, Configuration(catalog, blobs, folder)).close()
        self._home = self._home.at(self._home.folder)

    @checked
    def move(self, to: str | os.PathLike[str], *, progress: Progress | None = None) -> MoveReport:
        """Take all of this registry to another home, and have this folder lead there.

        What is there already is not copied again, so that a move that was interrupted goes on where it was. What is
        here stays, and refuses changes from then on.

        Args:
            to: the folder of the other home, or its ``registry.toml``; empty, or made by ``init``.
            progress: called with (bytes done, bytes in all).

        Raises:
            SamePlace, OtherRegistry: it is here already, or there is another one.
            DamagedBlob, UnmovableRow, NotTheSame: what is here cannot be moved as it is.
        """
        from registry.copying.moving import move

        self._home.require_folder("move")
        report = move(self._home, to, progress)
        self._home = self._home.at(Path(report.target))
        return report

    # Who may do what with it over HTTP

    @checked
    def add_token(
        self,
        user: str,
        *,
        role: str = "read",
        models: Sequence[str] = ("*",),
        expires: timedelta | str | float | None = None,
    ) -> NewToken:
        """Make a token with which ``registry serve`` lets a user do something.

        Args:
            user: who stands in the trail for what is done with it.
            role: ``"read"``; ``"write"``, to push, alias, tag and annotate, too; or ``"admin"``, to remove and rename.
            models: patterns (``"team/*"``) of the names of the only models that it is for.
            expires: how long it is valid: ``"90d"``, a ``timedelta``, or a number of seconds; by default always.

        Returns:
            The token and what it is for. Its ``text`` is stored nowhere, and cannot be shown again.

        Raises:
            InvalidUser, InvalidRole, InvalidPattern, InvalidLifetime
        """
        self._home.require_folder("token")
        from registry.catalog.tokens import check_token

        lifetime: Any = expires
        check_token(user, role, models, lifetime)  # before a registry is made for it
        self._home.make()
        return self._home.database.tokens.add(user, role, tuple(models), lifetime)

    @checked
    def tokens(self) -> tuple[Token, ...]:
        """Return all tokens that were made here, valid or not, the oldest first."""
        self._home.require_folder("token")
        return self._home.database.tokens.all()

    @checked
    def revoke_token(self, which: int | str) -> tuple[Token, ...]:
        """Let a token be valid no more, from the next request on.

        Args:
            which: its number, or a user, all of whose tokens are meant.

        Returns:
            What was revoked.

        Raises:
            UnknownToken: there is none that is not revoked already.
        """
        self._home.require_folder("token")
        return self._home.database.tokens.revoke(which)


@cache
def _registry_at(home: HomePlace) -> Registry:
    return Registry(home)


def default_registry() -> Registry:
    """Return the registry of the home that ``REGISTRY_HOME`` names now, or of the user's data directory."""
    return _registry_at(home_place())
