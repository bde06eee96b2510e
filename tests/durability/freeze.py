"""Freeze a home at this program's revision, as what a later one must be able to open.

``python tests/durability/freeze.py`` writes ``home-<revision>.tar.gz``, ``rich-<revision>.tar.gz`` and
``parts-<revision>.tar.gz`` into ``fixtures``; each is written once, when a revision is released, and never again.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # where it is run as a program

from homes import AT_ONCE, push

from registry import Registry
from registry.catalog.migration import HEAD

FIXTURES = Path(__file__).with_name("fixtures")


def fill(hub: Registry) -> None:
    """Make what the tables can hold: versions, aliases, metrics, notes, trash, what was collected, a shared blob."""
    push(hub, 1, aliases=["best"], parent=None, world_size=8)
    push(hub, 2, parent="net:v1")
    push(hub, 3)
    push(hub, 4)
    push(hub, 1, name="other", aliases=["best", "last"])
    hub.alias("net:v2", "last")
    hub.rm("net:v3")
    hub.gc(grace=AT_ONCE)
    hub.rm("net:v4")


def fill_richly(hub: Registry) -> None:
    """Make what a year of use leaves: jobs to resume, examples, ties, metrics and notes that came later, moved aliases.

    Only with arguments that the first revision's program took, so that it can be run by any.
    """
    torch.manual_seed(0)
    model, optimizer, scheduler = job()
    for step in range(2):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        scheduler.step()
        hub.push(
            model,
            "team.trained",
            optimizer=optimizer,
            scheduler=scheduler,
            step=step,
            example=torch.arange(3.0).reshape(1, 3),
            metrics={"loss": 1 / (step + 1)},
            aliases=["last"],
        )
    table = torch.arange(12.0).reshape(4, 3)
    hub.push({"embed.weight": table, "head.weight": table, "steps": torch.tensor(7)}, "tied", note="tied")
    saved = Path("linear.pth")
    for seed in range(4):
        torch.save({f"module.{name}": value for name, value in linear(seed).state_dict().items()}, saved)
        hub.push(
            saved,
            "classed",
            from_="ddp",
            model="torch.nn:Linear",
            init={"in_features": 3, "out_features": 2},
            world_size=8,
            metrics={"acc": seed / 4},
            note=f"seed {seed}",
        )
    saved.unlink()
    hub.push(
        linear(0).state_dict(), "classed", metrics={"acc": 0.5, "f1": 0.25}, note="measured again", aliases=["best"]
    )
    hub.alias("classed:v2", "best")
    hub.alias("classed:v2", "release")
    hub.unalias("classed", "release")
    hub.rm("classed:v3")
    hub.restore("classed:v3")
    hub.rm("classed:v4")
    hub.gc(grace=AT_ONCE)
    hub.rm("classed:v3")
    push(hub, 1, name="wrapped", parent="classed:v2")


def fill_with_parts(hub: Registry) -> None:
    """Make what the fifth revision knows: models that share a tensor, with their optimizer, and parts of a file."""
    parts, optimizer = branches()
    sum(part(torch.ones(1, 3)).sum() for part in parts.values()).backward()
    optimizer.step()
    init = {name: {"in_features": 3, "out_features": 2} for name in parts}
    hub.push(parts, "live", optimizer=optimizer, init=init, step=1)
    saved = Path("parts.pth")
    wrapped = {f"module.{name}": value for name, value in linear(1).state_dict().items()}
    torch.save({"point": wrapped, "img": linear(2).state_dict()}, saved)
    hub.push(saved, "filed", weights=["point", "img"])
    saved.unlink()


def branches() -> tuple[dict[str, torch.nn.Module], torch.optim.Optimizer]:
    point, img = linear(1), linear(2)
    img.bias = point.bias
    return {"point": point, "img": img}, torch.optim.SGD([*point.parameters(), img.weight], lr=0.5, momentum=0.5)


def linear(seed: int) -> torch.nn.Linear:
    model = torch.nn.Linear(3, 2)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.fill_(seed + number / 4)
    return model


def job() -> tuple[torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    model = linear(5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.5)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1)


def main() -> None:
    """Write the fixtures, those that there are not of this revision yet."""
    fixtures = FIXTURES.resolve()
    for kind, make in (("home", fill), ("rich", fill_richly), ("parts", fill_with_parts)):
        target = fixtures / f"{kind}-{HEAD}.tar.gz"
        if target.exists():
            print(f"{target} is there already, and what is frozen stays so")
            continue
        folder = Path(tempfile.mkdtemp())
        os.chdir(folder)  # away from the checkout, whose commit would be recorded
        try:
            hub = Registry(folder / "home")
            make(hub)
            hub.catalog.close()
            fixtures.mkdir(exist_ok=True)
            with tarfile.open(target, "w:gz") as archive:
                archive.add(folder / "home", "home")
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
