"""What a training on a GPU does with a model that is there, against what people do by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from benchmarks.row import Row, at_least, at_most
from benchmarks.timing import rounds, timed
from benchmarks.workshop import Workshop, recipe
from registry import Registry
from registry.pushing.background import PendingEntry

LOADING = "hashing every byte on all cores, and the copy to the GPU"
PUSHING = "the disk, which torch.save does not wait for, and the copy from the GPU"
WAITING = "the copy of every tensor from the GPU into memory that the system has to clear first"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Load the largest subject onto the GPU and into a model that is there, and push it from there."""
    size = f"{workshop.tensor_bytes(workshop.scale.gpt) / 1e9:.2g} GB"
    load = Row("gpu", f"load of {size} onto a GPU, every byte hashed", "recipe, .to(device)", at_least(3))
    into = Row(
        "gpu", f"load of {size} into a model on a GPU, every byte hashed", "torch.load(mmap=True), load_state_dict",
        at_most(2), limit=LOADING,
    )  # fmt: skip
    push = Row("gpu", f"push of a live model of {size} from a GPU", "torch.save", at_most(1), limit=PUSHING)
    wait = Row(
        "gpu", f"what training on a GPU waits for a push of {size} in the background", ".cpu() of every tensor",
        at_most(1), limit=WAITING,
    )  # fmt: skip
    if not torch.cuda.is_available():
        yield from (replace(row, skipped="there is no GPU") for row in (load, into, push, wait))
        return
    figures = _figures(workshop)
    yield replace(load, ours=figures["load"], theirs=figures["recipe"])
    yield replace(into, ours=figures["load into"], theirs=figures["load_state_dict"])
    yield replace(push, ours=figures["push"], theirs=figures["torch.save"])
    yield replace(wait, ours=figures["push later"], theirs=figures["cpu"])


def _figures(workshop: Workshop) -> dict[str, tuple[float, ...]]:
    subject, registry = workshop.scale.gpt, workshop.registry
    ref, path, plain = workshop.pushed(subject), workshop.checkpoint(subject), workshop.folder / "plain.pth"
    hub = Registry(workshop.fresh_folder("pushed from a GPU"))
    model = recipe(subject, path).to("cuda")
    torch.save(model.state_dict(), plain)
    pending: list[PendingEntry] = []

    def trained() -> None:
        while pending:
            pending.pop().wait()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1e-3)
        torch.cuda.synchronize()

    def by_hand() -> None:
        model.load_state_dict(torch.load(plain, map_location="cpu", mmap=True))
        torch.cuda.synchronize()

    def into() -> None:
        registry.load(ref, model=model)
        torch.cuda.synchronize()

    def later() -> None:
        pending.append(hub.push(model, "trained", init=subject.init, blocking=False))

    sides = {
        "load": timed(lambda: registry.load(ref, device="cuda")),
        "recipe": timed(lambda: recipe(subject, path).to("cuda")),
        "load into": timed(into),
        "load_state_dict": timed(by_hand),
        "push": timed(lambda: hub.push(model, "trained", init=subject.init), before=trained),
        "torch.save": timed(lambda: torch.save(model.state_dict(), plain), before=trained),
        "push later": timed(later, before=trained),
        "cpu": timed(lambda: {name: tensor.cpu() for name, tensor in model.state_dict().items()}, before=trained),
    }
    rounds(sides, 1)
    figures = rounds(sides, workshop.pairs)
    trained()
    hub.close()
    return figures
