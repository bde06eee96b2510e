"""The wrappers that people train in, one row each. Adding a wrapper is adding a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from registry.errors.canonical import UnknownWrapper

OR = " or "
"""Between the wrappers of which names alone do not tell one."""


@dataclass(frozen=True, slots=True)
class Wrapper:
    """A module that holds the model as its one child and puts that child's name in front of every name."""

    name: str
    component: str
    """Name of the one child."""
    types: tuple[str, ...] = ()
    """Classes, by full dotted name, that a live wrapper is known by."""
    own: tuple[str, ...] = ()
    """Tensors that it has beside its child; where they are present they prove it."""
    reserved: bool = False
    """Whether no honest module bears the name, so that it is cut undeclared and inside a model too."""
    by_names: str = ""
    """What it is called where only names show it, and others of the table write the same ones."""


WRAPPERS = (
    Wrapper(
        "ddp",
        "module",
        (
            "torch.nn.parallel.distributed.DistributedDataParallel",
            "apex.parallel.distributed.DistributedDataParallel",
            "torch.distributed._replicate.DDP",
        ),
        by_names=f"ddp{OR}dp",
    ),
    Wrapper("dp", "module", ("torch.nn.parallel.data_parallel.DataParallel",)),
    Wrapper("ema", "module", ("torch.optim.swa_utils.AveragedModel",), own=("n_averaged",)),
    Wrapper("ema", "module", ("mmengine.model.averaged_model.BaseAveragedModel",), own=("steps",)),
    Wrapper("ema", "module", ("timm.utils.model_ema.ModelEmaV2", "timm.utils.model_ema.ModelEmaV3")),
    Wrapper("deepspeed", "module", ("deepspeed.runtime.engine.DeepSpeedEngine",)),
    Wrapper("compile", "_orig_mod", ("torch._dynamo.eval_frame.OptimizedModule",), reserved=True),
    Wrapper(
        "fsdp",
        "_fsdp_wrapped_module",
        ("torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel",),
        reserved=True,
    ),
    Wrapper("fsdp", "_fpw_module", reserved=True),
    Wrapper(
        "checkpoint",
        "_checkpoint_wrapped_module",
        (
            "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.CheckpointWrapper",
            "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.OffloadWrapper",
        ),
        reserved=True,
    ),
    Wrapper(
        "fabric",
        "_forward_module",
        ("lightning.fabric.wrappers._FabricModule", "lightning_fabric.wrappers._FabricModule"),
        reserved=True,
    ),
    Wrapper("opacus", "_module", ("opacus.grad_sample.grad_sample_module.GradSampleModule",)),
)

COMPONENTS = frozenset(row.component for row in WRAPPERS)
"""Every component that some wrapper inserts."""

HIDDEN = ("_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""Components that torch's own hooks take out of a live state dict's names."""

SINGLE = "single"
"""What ``--from`` calls a model that nothing wrapped."""

FLAT_PARAMETERS = ("_flat_param", "flat_param")
"""Leaf names of FSDP1's flattened shards, which hold no tensor of the model."""

_SYNONYMS = {
    "dataparallel": "dp",
    "distributeddataparallel": "ddp",
    "distributed": "ddp",
    "swa": "ema",
    "averagedmodel": "ema",
    "fsdp1": "fsdp",
    "fsdp2": "fsdp",
    "torch.compile": "compile",
    "lightning": "fabric",
    "none": SINGLE,
    "bare": SINGLE,
}


def parse_declaration(text: str) -> tuple[str, ...]:
    """Read what ``--from`` was given: ``"ddp"``, ``"compile(ddp)"`` (outermost first), or ``"single"``.

    Returns the stack of wrapper names; an empty one for ``"single"``.

    Raises:
        UnknownWrapper: a name in it is no row of the table.
    """
    match = re.fullmatch(r"([\w.]+(?:\([\w.]+)*)(\)*)", text.strip().lower())
    parts = match.group(1).split("(") if match else []
    if not match or len(match.group(2)) != len(parts) - 1:
        raise UnknownWrapper(text, declarable())
    stack = tuple(_SYNONYMS.get(part, part) for part in parts)
    if stack == (SINGLE,):
        return ()
    for name in stack:
        if name not in declarable() or name == SINGLE:
            raise UnknownWrapper(text, declarable())
    return stack


def declarable() -> tuple[str, ...]:
    """Return every name that ``--from`` takes."""
    return (*dict.fromkeys(row.name for row in WRAPPERS), SINGLE)


def row_for(component: str, siblings: Sequence[str], declared: Sequence[str]) -> Wrapper | None:
    """Return the wrapper that explains a node whose children are ``component`` and ``siblings``, or None.

    The siblings must be tensors of the wrapper's own; where rows share a component, one whose own tensors are all
    there is proven, then the declared one counts, then the first of the table.
    """
    rows = [row for row in WRAPPERS if row.component == component and set(row.own) == set(siblings)]
    return next((row for name in declared for row in rows if row.name == name), rows[0] if rows else None)


def shown_by_names(row: Wrapper, declared: Sequence[str]) -> str:
    """Return what a wrapper is called that only names show: as it was declared, or with those that write the same."""
    return row.name if row.name in declared else row.by_names or row.name


def format_stack(stack: Sequence[str]) -> str:
    """Word a stack of wrappers, outermost first: ``compile(ddp)``; ``none`` for an empty one."""
    return "(".join(stack) + ")" * (len(stack) - 1) if stack else "none"
