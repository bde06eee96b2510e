"""Homes with something to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from registry import Entry, Registry


def weights(seed: int, size: int = 8) -> dict[str, torch.Tensor]:
    """Return a model with a backbone that all share and a head of its own."""
    draw = torch.Generator().manual_seed(seed)
    return {
        "backbone.weight": torch.arange(float(size * size)).reshape(size, size),
        "head.weight": torch.randn(4, size, generator=draw),
        "head.steps": torch.tensor(seed),
    }


def push(hub: Registry, seed: int, name: str = "net", **facts: Any) -> Entry:
    facts = {"note": f"seed {seed}", "metrics": {"acc": seed / 10}, **facts}
    entry = hub.push(weights(seed), name, **facts)
    assert isinstance(entry, Entry)
    return entry


def trained(hub: Registry, name: str = "trained", *, steps: int = 1) -> tuple[torch.nn.Linear, torch.optim.SGD]:
    """Push a live model with its optimizer's state and an example, and return both."""
    torch.manual_seed(steps)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.5)
    for _ in range(steps):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    hub.push(model, name, optimizer=optimizer, step=steps, example=torch.ones(1, 3))
    return model, optimizer


def many(hub: Registry, models: int, each: int) -> None:
    """Fill a home with versions, whose metrics, tags, notes and aliases were partly added later."""
    for number in range(models):
        name = f"model-{number}"
        for seed in range(each):
            parent = f"{name}:v{seed}" if seed else None
            push(hub, 100 * number + seed, name, parent=parent, tags={"task": f"t{number}"}, aliases=["last"])
        hub.alias(f"{name}:v1", "first")
        hub.push(weights(100 * number), name, metrics={"f1": number / 7}, note="measured again")


def account(entry: Entry) -> tuple[Any, ...]:
    """Return what of a version is the same wherever it lies under its own name and number."""
    return (
        *(entry.ref, entry.identity, entry.digest, entry.record_digest, entry.seal, entry.uid, entry.created_at),
        *(entry.metrics, entry.tags, entry.aliases, entry.note, entry.parent, entry.wrapper, entry.unwrapping),
        *(entry.source_name, entry.creator, entry.torch_version, entry.byte_count, dict(entry.init)),
    )


def told(hub: Registry, name: str, *, came: bool) -> list[tuple[Any, ...]]:
    """Return what is told of a model: what came with its versions, or all that happened here."""
    events = [event for event in hub.log(name) if (event.origin is not None) == came]
    return [(event.at, event.actor, event.verb, event.reference, event.details, event.hash) for event in events]


def files(home: Path) -> dict[str, bytes]:
    """Return every file of a home but the index of the database's log, which readers write, too."""
    paths = (path for path in home.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path.relative_to(home)): path.read_bytes() for path in paths}
