"""From a stored version to a ready module, against what people do by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from blake3 import blake3
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.row import Floor, Row, at_least, at_most
from benchmarks.subjects import forward, forward_of_many_tokens
from benchmarks.timing import rounds, timed
from benchmarks.workshop import Subject, Workshop, recipe

RECIPE = "Net(args), torch.load, replace, load_state_dict"
PAGES = "hashing every byte, on all cores; the forward of a short sequence is too short to hide it"
CALLS = "Python's work for each module and tensor"
CHECKED = "hashing every byte on all cores before the first is copied, and then the copy that the recipe makes, too"

ALL_CORES = "BLAKE3 of the bytes on all cores"
CONSTRUCTORS = "the class's constructors on the meta device"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Load the three subjects in the ways that are compared.

    The largest comes last: what it leaves in the C library's allocator makes ``torch.load`` of another a quarter
    faster, and a program that loads one model has none of it.
    """
    scale = workshop.scale
    _on_meta(scale.small)  # at its first use the meta device imports a thousand modules
    yield from _into_module(workshop, scale.resnet, "a ResNet-50")
    yield from _usual(workshop, scale.resnet)
    yield from _small(workshop, scale.small)
    yield from _large(workshop, scale.gpt)
    yield from _into_module(workshop, scale.gpt, f"a {workshop.tensor_bytes(scale.gpt) / 1e9:.2g} GB GPT")


def _large(workshop: Workshop, subject: Subject) -> Iterator[Row]:
    registry, ref, path = workshop.registry, workshop.pushed(subject), workshop.checkpoint(subject)
    plain = workshop.folder / "plain.safetensors"
    save_file(_untied(path), plain)
    resident = registry.load(ref, resident=True)
    recipe_seconds: list[float] = []

    def by_hand() -> None:
        begin = time.perf_counter()
        model = recipe(subject, path)
        recipe_seconds.append(time.perf_counter() - begin)
        forward(model)

    figures = rounds(
        {
            "recipe, forward": timed(by_hand),
            "safetensors": timed(lambda: _safetensors(subject, plain)),
            "once": timed(lambda: registry.load(ref, verify="once")),
            "checked, forward": timed(lambda: forward(registry.load(ref))),
            "unchecked, forward": timed(lambda: forward(registry.load(ref, verify="never"))),
            "checked, long": timed(lambda: forward_of_many_tokens(registry.load(ref))),
            "unchecked, long": timed(lambda: forward_of_many_tokens(registry.load(ref, verify="never"))),
            "constructors": timed(lambda: _on_meta(subject)),
            "hash": timed(lambda: hash_on_all_cores(plain)),
            "hash, forward": timed(lambda: (hash_on_all_cores(plain), forward(resident))),
        },
        workshop.pairs,
    )
    plain.unlink()
    constructors = Floor(CONSTRUCTORS, figures["constructors"])
    hashed_forward = Floor(f"{ALL_CORES}, then the forward of a model in memory", figures["hash, forward"])
    one_by_one = f"{ALL_CORES} and the unchecked side, one after the other"
    size = f"{workshop.tensor_bytes(subject) / 1e9:.2g} GB GPT"
    once, checked, unchecked = figures["once"], figures["checked, forward"], figures["unchecked, forward"]
    yield Row(
        "loading", f"load of a {size} that was verified before", RECIPE, at_least(300), "s",
        once, tuple(recipe_seconds), limit=CALLS, floor=constructors,
    )  # fmt: skip
    yield Row(
        "loading", "first load, every byte hashed, to the end of the first forward", RECIPE, at_least(20), "s",
        checked, figures["recipe, forward"], limit=PAGES, floor=hashed_forward,
    )  # fmt: skip
    yield Row(
        "loading", "first load with forward, checked", "the same, unchecked", at_most(1.2), "s",
        checked, unchecked, limit=PAGES, floor=Floor(one_by_one, _sums(figures["hash"], unchecked)),
    )  # fmt: skip
    checked, unchecked = figures["checked, long"], figures["unchecked, long"]
    yield Row(
        "loading", "first load with the forward of 512 tokens, checked", "the same, unchecked", at_most(1.05), "s",
        checked, unchecked, limit=PAGES, floor=Floor(one_by_one, _sums(figures["hash"], unchecked)),
    )  # fmt: skip
    yield Row(
        "loading", "ready module", "safetensors load_file, load_state_dict(assign=True)", at_least(100), "s",
        once, figures["safetensors"], limit=CALLS, floor=constructors,
    )  # fmt: skip


def _into_module(workshop: Workshop, subject: Subject, what: str) -> Iterator[Row]:
    """Load into a module that is there, as an evaluation does again and again."""
    registry, ref, path = workshop.registry, workshop.pushed(subject), workshop.checkpoint(subject)
    module = subject.build()
    weights = workshop.folder / "weights.safetensors"
    registry.export(ref, weights)
    figures = rounds(
        {
            "mapped": timed(lambda: _by_hand(module, path, mmap=True)),
            "read": timed(lambda: _by_hand(module, path, mmap=False)),
            "checked": timed(lambda: registry.load(ref, model=module)),
            "hash, copy": timed(lambda: _hash_and_copy(weights, module)),
        },
        workshop.pairs,
    )
    weights.unlink()
    floor = Floor(f"{ALL_CORES}, then copy_ of each tensor", figures["hash, copy"])
    for against, side, goal in (
        ("torch.load(mmap=True), load_state_dict", "mapped", at_most(1.5)),
        ("torch.load, load_state_dict", "read", at_least(1)),
    ):
        yield Row(
            "loading", f"load into a module that is there, {what}, every byte hashed", against, goal, "s",
            figures["checked"], figures[side], limit=CHECKED, floor=floor,
        )  # fmt: skip


def _by_hand(module: nn.Module, path: Path, *, mmap: bool) -> None:
    loaded = torch.load(path, map_location="cpu", mmap=mmap)
    module.load_state_dict({name.replace("module.", ""): tensor for name, tensor in loaded.items()})


def _usual(workshop: Workshop, subject: Subject) -> Iterator[Row]:
    registry, ref, path = workshop.registry, workshop.pushed(subject), workshop.checkpoint(subject)
    figures = rounds(
        {
            "recipe": timed(lambda: recipe(subject, path)),
            "once": timed(lambda: registry.load(ref, verify="once")),
            "always": timed(lambda: registry.load(ref)),
            "constructors": timed(lambda: _on_meta(subject)),
            "hash": timed(lambda: hash_on_all_cores(path)),
        },
        workshop.pairs,
    )
    both = _sums(figures["constructors"], figures["hash"])
    yield Row(
        "loading", "load of a ResNet-50 that was verified before", RECIPE, at_least(15), "s",
        figures["once"], figures["recipe"], limit=CALLS, floor=Floor(CONSTRUCTORS, figures["constructors"]),
    )  # fmt: skip
    yield Row(
        "loading", "first load of a ResNet-50, every byte hashed", RECIPE, at_least(6), "s",
        figures["always"], figures["recipe"], limit=PAGES, floor=Floor(f"{CONSTRUCTORS}, then {ALL_CORES}", both),
    )  # fmt: skip


def _small(workshop: Workshop, subject: Subject) -> Iterator[Row]:
    registry, ref, path = workshop.registry, workshop.pushed(subject), workshop.checkpoint(subject)
    figures = rounds(
        {
            "recipe": timed(lambda: recipe(subject, path)),
            "once": timed(lambda: registry.load(ref, verify="once")),
        },
        workshop.pairs,
    )
    yield Row(
        "loading", f"load of {subject.init['tensors']:,} small tensors, verified before", RECIPE, at_least(6), "s",
        figures["once"], figures["recipe"], limit=CALLS,
    )  # fmt: skip


def _sums(*sides: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(map(sum, zip(*sides, strict=True)))


def _untied(path: Path) -> dict[str, torch.Tensor]:
    """Return what safetensors can write: it refuses two names for one piece of memory."""
    tensors = {name.replace("module.", ""): tensor for name, tensor in torch.load(path, mmap=True).items()}
    tensors.pop("head.weight")
    return tensors


def _on_meta(subject: Subject) -> None:
    with torch.device("meta"):
        subject.build()


def hash_on_all_cores(path: Path) -> None:
    """Hash a file through a mapping, as nothing else does faster."""
    blake3(max_threads=blake3.AUTO).update_mmap(path)


def _hash_and_copy(path: Path, module: nn.Module) -> None:
    hash_on_all_cores(path)
    state = module.state_dict()
    with safe_open(path, "pt") as file, torch.no_grad():
        for name in file.keys():  # noqa: SIM118  # it is no mapping
            state[name].copy_(file.get_tensor(name))


def _safetensors(subject: Subject, path: Path) -> nn.Module:
    model = subject.build()
    tensors = load_file(path)
    tensors["head.weight"] = tensors["tokens.weight"]
    model.load_state_dict(tensors, assign=True)
    return model.eval()
