"""``registry inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .rendering import decision, print_json, say, size, unwrapping_document

if TYPE_CHECKING:
    from registry.intake import Inspection

_FEW = 8


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A checkpoint: a file or a folder.")],
    from_ddp: options.FromDdp = False,
    from_single: options.FromSingle = False,
    from_: options.From = None,
    model: options.Model = None,
    init: options.Init = None,
    init_as: options.InitAs = "kwargs",
    weights: options.Weights = None,
    every: Annotated[bool, typer.Option("--all", help="Show every name, not only the first few.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show what a push would store, without storing it: containers, cuts with evidence, names before and after.

    Example: registry inspect best.pth --from-ddp
    """
    inspection = options.registry_at(home).inspect(
        file,
        from_=options.declared(from_ddp, from_single, from_),
        model=model,
        init=options.parse_init(init),
        init_as=init_as,
        weights=weights,
    )
    if as_json:
        print_json(_document(inspection))
        return
    checkpoint, form = inspection.checkpoint, inspection.form
    say(f"{checkpoint.source}: {checkpoint.format}")
    for found in checkpoint.weight_sets:
        say(f"  weights at {found.key or 'the top'}: {len(found.tensors)} tensors")
    if checkpoint.training:
        say(f"  beside them: {', '.join(map(str, checkpoint.training))}")
    if checkpoint.init:
        say(f"  init arguments in the file: {', '.join(map(str, checkpoint.init))}")
    nbytes = sum(tensor.spec.nbytes for tensor in inspection.tensors.values())
    for line in decision(form.unwrapping, len(inspection.tensors), form.saved_as, form.wrapper):
        say(line)
    say(f"{size(nbytes)}, {len(inspection.ties)} ties, wrapper {form.wrapper}, saved {form.saved_as}")
    if form.restored:
        say(f"tied names that the file lacks: {', '.join(form.restored)}")
    if form.defaulted:
        say(f"counters that a load sets to 0: {len(form.defaulted)}")
    for note in inspection.notes:
        say(note)
    names = list(form.tensors.items())
    width = max(len(name) for name, _ in names[: None if every else _FEW])
    for name, canonical in names[: None if every else _FEW]:
        spec = inspection.weights.tensors[name].spec
        say(f"  {name.ljust(width)} -> {canonical}  {spec}" if name != canonical else f"  {name}  {spec}")
    if len(names) > _FEW and not every:
        say(f"  and {len(names) - _FEW} more; --all shows them")


def _document(inspection: Inspection) -> dict[str, Any]:
    form, checkpoint = inspection.form, inspection.checkpoint
    return {
        "source": checkpoint.source,
        "format": checkpoint.format,
        "weight_sets": {found.key: len(found.tensors) for found in checkpoint.weight_sets},
        "weights_key": inspection.weights.key,
        "wrapper": form.wrapper,
        "saved_as": form.saved_as,
        "unwrapping": unwrapping_document(form.unwrapping),
        "names": dict(form.tensors),
        "tensors": {
            name: {"dtype": tensor.spec.dtype, "shape": list(tensor.spec.shape)}
            for name, tensor in inspection.tensors.items()
        },
        "ties": [list(tie) for tie in inspection.ties],
        "restored": dict(form.restored),
        "defaulted": list(form.defaulted),
        "training": [str(key) for key in checkpoint.training],
        "init": {str(key): value for key, value in checkpoint.init.items()},
        "notes": list(inspection.notes),
    }
