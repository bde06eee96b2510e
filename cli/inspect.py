"""``registry inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .rendering import decision, few, number_of, print_json, say, size, table

if TYPE_CHECKING:
    from registry.inspection import Inspection

_FEW = 8


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A checkpoint: a file or a folder.")],
    from_ddp: options.FromDdp = False,
    from_single: options.FromSingle = False,
    from_: options.From = None,
    model: options.Model = None,
    init: options.Init = None,
    init_as: options.InitAs = None,
    init_from_file: options.InitFromFile = False,
    weights: options.Weights = None,
    allow_unexpected: options.AllowUnexpected = None,
    builder: options.Builder = None,
    every: Annotated[bool, typer.Option("--all", help="Show every name, not only the first few.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show what a push would store, without storing it.

    It prints the weights found in the file, the cuts with their evidence, and the names before and after.

    Example: registry inspect best.pth --from-ddp
    """
    inspection = options.registry_at(home).inspect(
        file,
        from_=options.declared(from_ddp, from_single, from_),
        model=options.parse_model(model),
        init=options.parse_init(init, init_as),
        init_as=init_as,
        init_from_file=init_from_file,
        weights=options.parse_weights(weights),
        allow_unexpected=allow_unexpected or (),
        builder=builder,
    )
    if as_json:
        print_json(_document(inspection))
        return
    checkpoint, form = inspection.checkpoint, inspection.form
    say(f"{checkpoint.source}: {checkpoint.format}")
    for found in checkpoint.weight_sets:
        say(f"  weights at {found.key or 'the top'}: {number_of(found.count, 'tensor')}")
    if checkpoint.training:
        say(f"  beside them: {few(list(checkpoint.training))}")
    if checkpoint.init:
        say(f"  constructor arguments in the file: {few(list(checkpoint.init))}")
    nbytes = sum(tensor.spec.nbytes for tensor in inspection.tensors.values())
    for line in decision(form.unwrapping, len(inspection.tensors), form.saved_as, form.wrapper):
        say(line)
    wrapper = "no wrapper is visible" if form.wrapper == "none" else f"wrapper {form.wrapper}, saved {form.saved_as}"
    say(f"{size(nbytes)}, {number_of(len(inspection.ties), 'tie')}, {wrapper}")
    if form.restored:
        say(f"tied names that the file lacks: {few(list(form.restored))}")
    if form.defaulted:
        say(f"counters that a load sets to 0: {len(form.defaulted)}")
    documents = inspection.documents
    for kind, files in (("configurations", documents.config), ("tokenizer", documents.tokenizer)):
        if files:
            say(f"{kind} kept beside them: {few(list(files))}")
    for part in inspection.recipe.parts:
        say(f"part {part.part}: {part.model_class or 'class not known'}")
    if inspection.recipe.builder is not None:
        say(f"made by {inspection.recipe.builder}")
    for note in inspection.notes:
        say(note)
    if every and inspection.left_out:
        say("not stored:")
        table([(f"  {name}", number_of(count, "tensor")) for name, count in inspection.left_out.items()], head=False)
    _say_names(inspection, None if every else _FEW)


def _say_names(inspection: Inspection, limit: int | None) -> None:
    names = inspection.form.tensors
    rows = [
        (f"  {name}", f"-> {canonical}" if name != canonical else "", str(inspection.weights.tensors[name].spec))
        for name, canonical in list(names.items())[:limit]
    ]
    renamed = any(row[1] for row in rows)
    table([row if renamed else (row[0], row[2]) for row in rows], head=False)
    if len(names) > len(rows):
        say(f"  and {len(names) - len(rows)} more; --all shows them")


def _document(inspection: Inspection) -> dict[str, Any]:
    form, checkpoint = inspection.form, inspection.checkpoint
    return {
        "source": checkpoint.source,
        "format": checkpoint.format,
        "weight_sets": {found.key: found.count for found in checkpoint.weight_sets},
        "weights_key": inspection.weights.key,
        "wrapper": form.wrapper,
        "saved_as": form.saved_as,
        "unwrapping": form.unwrapping,
        "names": form.tensors,
        "tensors": {
            name: {"dtype": tensor.spec.dtype, "shape": tensor.spec.shape}
            for name, tensor in inspection.tensors.items()
        },
        "ties": inspection.ties,
        "builder": inspection.recipe.builder,
        "parts": inspection.recipe.parts,
        "kept_beside": {
            "config": sorted(inspection.documents.config),
            "tokenizer": sorted(inspection.documents.tokenizer),
        },
        "restored": form.restored,
        "defaulted": form.defaulted,
        "training": list(checkpoint.training),
        "init": checkpoint.init,
        "left_out": inspection.left_out,
        "notes": inspection.notes,
    }
