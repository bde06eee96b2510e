"""Versions whose weights follow from a number, so that any process can say whether a home is whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import torch
from grounds import Elsewhere, Folder, ground_of

from registry import Registry
from registry.catalog.entry import Entry
from registry.errors import RegistryError

AT_ONCE = timedelta(0)
LARGE = 1000
"""Numbers from which on a model has tensors that are written while they are hashed."""
DATABASE = ("registry.db", "registry.db-wal", "registry.db-shm", "registry.db-journal", "registry.db.lock")


def weights(seed: int) -> dict[str, torch.Tensor]:
    """Return a model with a frozen backbone, which all share, and a head of its own, saved under DDP."""
    draw = torch.Generator().manual_seed(seed)
    small = {
        "module.backbone.weight": torch.arange(64.0).reshape(8, 8),
        "module.head.weight": torch.randn(4, 8, generator=draw),
        "module.head.steps": torch.tensor(seed),
    }
    if seed < LARGE:
        return small
    large = {"first": _large(f"first {seed}"), "second": _large("shared"), "third": _large(f"third {seed}")}
    return {**small, **{f"module.large.{name}": tensor for name, tensor in large.items()}}


def _large(seed: str) -> torch.Tensor:
    # Without torch, whose threads do not survive the forks in which verbs are killed.
    return torch.frombuffer(bytearray(Random(seed).randbytes(1_200_000)), dtype=torch.int32)


def push(hub: Registry, seed: int, name: str = "net", **facts: Any) -> Entry:
    return hub.push(weights(seed), name, from_="ddp", note=f"seed {seed}", metrics={"seed": seed}, **facts)


def copy_of(template: Path, place: Path) -> Path:
    """Copy a home that nobody has open to an empty place."""
    return Folder().copy(template, place)


def made(home: Path, prepare: Callable[[Registry], object]) -> Path:
    """Make a home and close it."""
    hub = Registry(home)
    prepare(hub)
    hub.catalog.close()
    return home


def files(home: Path) -> set[str]:
    """Return every file of a home but the database's own; of one elsewhere what is in the bucket, and not the cache."""
    ground = ground_of(home)
    if isinstance(ground, Elsewhere):
        return set(ground.objects(home))
    paths = (path for path in home.rglob("*") if not path.is_dir() or path.is_symlink())
    return {str(path.relative_to(home)) for path in paths} - set(DATABASE)


def stored(home: Path) -> set[str]:
    """Return the digests of all blobs that are there."""
    return {Path(name).stem for name in files(home) if name.startswith("blobs/")}


def is_made(hub: Registry) -> bool:
    """Whether there is a registry: what was killed before it made one has left none."""
    return hub._home.is_made


def check_whole(hub: Registry) -> None:
    """Every version has the weights that belong to its note, every alias leads somewhere, every number was used."""
    if not is_made(hub):
        assert not (hub.home / "blobs").exists()
        return
    for entry in hub.list():
        seed = int(entry.note.split()[1])
        check_weights(hub, entry.ref, seed)
        assert entry.metrics == {"seed": seed}
        for alias in entry.aliases:
            assert hub.get(f"{entry.name}:{alias}").ref == entry.ref
    for name in {entry.name for entry in hub.list()} | {entry.name for entry in hub.list(trashed=True)}:
        events = [event for event in hub.log(name) if event.verb in ("push", "copy") and event.origin is None]
        new = [event for event in reversed(events) if "reused" not in event.details]
        numbers = [int(str(event.reference).rpartition(":v")[2]) for event in new]
        # A number that was not copied is lacking, and none is given twice.
        lacking = any(event.verb == "copy" for event in new)
        wanted = sorted(set(numbers)) if lacking else list(range(1, len(numbers) + 1))
        assert numbers == wanted, f"{name} has the numbers {numbers}"
    report = hub.audit()
    assert report.is_clean, report.faults


def check_weights(hub: Registry, ref: str, seed: int) -> None:
    stored, wanted = hub.state_dict(ref), weights(seed)
    assert {f"module.{name}" for name in stored} == set(wanted)
    assert all(torch.equal(tensor, wanted[f"module.{name}"]) for name, tensor in stored.items())


def check_collected(hub: Registry) -> None:
    """A dry run tells what the collection then does, after which there is nothing that nobody needs."""
    would = hub.gc(dry_run=True)
    done = hub.gc()
    assert (would.files, would.versions, would.nbytes) == (done.files, done.versions, done.nbytes)
    assert stored(hub.home) == set(hub.catalog.known_blobs()) == set(hub.catalog.referenced_blobs())
    here = hub.cache or hub.home
    assert not any(path.is_file() for part in ("tmp", "running") for path in (here / part).rglob("*"))
    assert not list(here.rglob("*.part"))
    assert hub.gc().files == ()


def refusal(act: Callable[[], object]) -> str:
    """Return the sentence of the error of ours that something raises."""
    try:
        act()
    except RegistryError as error:
        return str(error)
    raise AssertionError("nothing was refused")
