"""Files of which each holds a part of the weights: known by what their writers call them, and by what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from registry.checkpoints.groups import values_in
from registry.checkpoints.mapping import is_regular
from registry.errors.checkpoints import NotACheckpoint, OneShard, PartOfModel, ZeroShards

METADATA = ".metadata"
"""The file that makes a folder a torch.distributed.checkpoint."""

_SHARD = re.compile(r"[-_](\d{5,})[-_]of[-_](\d{5,})\.")
"""Shards of transformers and huggingface_hub. Fewer digits count something else: ``epoch-3-of-10.pth``."""

_FRAMEWORK = "merge them with the tool of the framework that wrote them"
_RANKED = (
    (re.compile(r"consolidated\.(\d+)\."), "model-parallel parts of Llama", "give the merged model"),
    (re.compile(r"(?:mp|tp|pp|ep)_rank_(\d+)"), "model-parallel ranks", _FRAMEWORK),
    (re.compile(r"mp_rank_\d+_(\d+)"), "model-parallel ranks", _FRAMEWORK),
    (re.compile(r"model_part[-_]?(\d+)"), "model-parallel parts", _FRAMEWORK),
)
"""Names whose number is that of a process with a share of the model: pattern, what they are, what to do."""

_WORLD_SIZE = re.compile(r"model_world_size_(\d+)_rank_\d+")
"""Names that say over how many processes a model was spread."""

_ONE_OF = re.compile(
    r"(?:(?P<counted>[a-z]+)[-_. ]?)?(?P<number>\d+)[-_. ]?of[-_. ]?(?P<all>\d+)(?![a-z\d])", re.IGNORECASE
)
"""Names that say that a file is one of several, and perhaps of what: ``model_0-of-2``, ``part-1-of-3``."""

_SHARES = ("part", "shard", "tp", "pp", "mp")
"""Of a count of these each file has a share of the model; of any other, such as epochs, it may have all of it."""

_REPLICAS = re.compile(r"(?<![A-Za-z])(?:rank|shard)[-_]?(\d+)")
"""Names whose number is that of a process, which may have had all of the model or a part."""

_DEGREES = (
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "expert_model_parallel_size",
    "expert_tensor_parallel_size",
    "model_parallel_size",
)
"""What Megatron and its kin write among their arguments: over how many processes the model was spread."""


def refuse_part(path: Path) -> None:
    """Refuse a file that is one of several, as far as its name and its neighbors say so.

    Raises:
        OneShard, ZeroShards, PartOfModel, NotACheckpoint: it is.
    """
    name = path.name
    if path.suffix == ".distcp":
        there = is_regular(path.parent / METADATA)
        remedy = "give its folder" if there else f"get the whole folder with its {METADATA}, which is not beside it"
        raise NotACheckpoint(str(path), "one rank's part of a torch.distributed.checkpoint", remedy)
    shard = _SHARD.search(name)
    if shard and int(shard[2]) > 1:
        raise OneShard(str(path), int(shard[2]))
    if re.match(r"(bf16_)?zero_pp_rank_\d+_mp_rank_\d+", name):
        raise ZeroShards(str(path), "one rank's ZeRO")
    if re.match(r"layer_\d+-model_\d+", name):
        raise ZeroShards(str(path), "one layer's pipeline-parallel")
    for pattern, what, remedy in _RANKED:
        if others := _others(path, pattern):
            raise PartOfModel(str(path), f"it is one of {len(others) + 1} {what}, beside {others[0]}", remedy)
        number = pattern.search(name)
        if number is not None and int(number[1]) > 0:
            raise PartOfModel(str(path), f"it is one of several {what}: number {int(number[1])}, from 0 on", remedy)
    of, spread = _one_of(name), _WORLD_SIZE.search(name)
    parts = int(spread[1]) if spread is not None else of.all if of is not None and of.counted in _SHARES else 1
    if parts > 1:
        raise PartOfModel(str(path), f"its name says that it is one of {parts} parts", _FRAMEWORK)


def is_shard(name: str) -> bool:
    """Whether a file is called like one of several shards."""
    shard = _SHARD.search(name)
    return shard is not None and int(shard[2]) > 1


def part_note(path: Path) -> str:
    """Return a sentence where a file may be a part: by a name that counts it, or beside the files of other ranks."""
    of = _one_of(path.name)
    if of is not None:
        return (
            f"its name says {of.number} of {of.all}: if each of these files holds a part of one model, this is not all"
        )
    others = _others(path, _REPLICAS)
    if not others:
        return ""
    return f"it lies beside {others[0]}: if these are ranks of one job that saved a part each, this is not all"


def refuse_spread(contents: Any, source: str) -> None:
    """Refuse what says of itself that its weights were spread over several processes.

    Raises:
        PartOfModel: naming what says so.
    """
    for key, value in ((key, value) for _, value in values_in(contents) if isinstance(value, dict) for key in _DEGREES):
        degree = value.get(key)
        if type(degree) is int and degree > 1:
            raise PartOfModel(
                source,
                f"its arguments say {key}={degree}, and every process saves its own part",
                f"{_FRAMEWORK}; if they are merged, save the state dict without these arguments",
            )


class _OneOf(NamedTuple):
    """What a name counts."""

    counted: str
    number: int
    all: int


def _one_of(name: str) -> _OneOf | None:
    for found in _ONE_OF.finditer(name):
        one = _OneOf((found["counted"] or "").lower(), int(found["number"]), int(found["all"]))
        if one.number <= one.all > 1:
            return one
    return None


def _others(path: Path, pattern: re.Pattern[str]) -> list[str]:
    """Return the neighbors that differ from a file, or from its folder, in the number alone."""
    for place in (path.absolute(), path.absolute().parent):
        for found in pattern.finditer(place.name):
            before, after = re.escape(place.name[: found.start(1)]), re.escape(place.name[found.end(1) :])
            like = re.compile(rf"{before}(\d+){after}")
            try:
                names = sorted(entry.name for entry in place.parent.iterdir())
            except OSError:  # it may be entered and not be listed
                continue
            others = [name for name in names if (same := like.fullmatch(name)) and int(same[1]) != int(found[1])]
            if others:
                return others
    return []
