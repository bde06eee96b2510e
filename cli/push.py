"""``registry push``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from registry.reference import is_named_like_a_file

from . import options
from .progress import progress_bar
from .rendering import decision, entry_document, print_json, say, size, warn

if TYPE_CHECKING:
    from registry.catalog.entry import Entry


def push(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A checkpoint: a file or a folder.")],
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The model's name. [default: the file's stem]")
    ] = None,
    from_ddp: options.FromDdp = False,
    from_single: options.FromSingle = False,
    from_: options.From = None,
    model: options.Model = None,
    init: options.Init = None,
    init_as: options.InitAs = None,
    init_from_file: options.InitFromFile = False,
    weights: options.Weights = None,
    allow_unexpected: options.AllowUnexpected = None,
    world_size: Annotated[
        int | None, typer.Option("--world-size", metavar="N", min=1, help="Number of processes that trained it.")
    ] = None,
    metric: options.Metric = None,
    alias: Annotated[
        list[str] | None,
        typer.Option("--alias", metavar="A", help="An alias to point at the version; may be repeated."),
    ] = None,
    tag: options.Tag = None,
    parent: Annotated[
        str | None, typer.Option("--parent", metavar="REF", help="The version it was trained from.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="The training run that it is of; retention goes by it.")
    ] = None,
    note: options.Note = "",
    builder: options.Builder = None,
    base: options.Base = None,
    example: options.ExampleFile = None,
    example_shape: options.ExampleShape = None,
    seed: options.Seed = 0,
    force_new: Annotated[
        bool, typer.Option("--force-new", help="Make another version even if this model already has these weights.")
    ] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Store a checkpoint in canonical form as a new version.

    It prints what was cut from the names and on what evidence. With --model the class itself is the evidence, and
    `registry.load` can build it. Pushing weights that this model already has returns the existing version.

    A folder that save_pretrained wrote is kept whole: configurations and tokenizer beside the weights, its README.md as
    the model's card. The library that wrote it makes the model of it again.

    Example: registry push best.pth --from-ddp --metric acc=0.92 --alias best
    """
    if name is not None and is_named_like_a_file(name) and not os.path.lexists(file):
        raise typer.BadParameter(f"the file comes first: registry push {name} {file}")
    registry = options.registry_at(home)
    with progress_bar(f"storing {file}", quiet=as_json) as progress:
        entry = registry.push(
            file,
            name,
            from_=options.declared(from_ddp, from_single, from_),
            model=options.parse_model(model),
            init=options.parse_init(init, init_as),
            init_as=init_as,
            init_from_file=init_from_file,
            weights=options.parse_weights(weights),
            allow_unexpected=allow_unexpected or (),
            world_size=world_size,
            metrics=options.parse_metrics(metric),
            tags=options.parse_tags(tag),
            aliases=alias or (),
            parent=parent,
            run=run,
            note=note,
            force_new=force_new,
            builder=builder,
            base=base,
            example=options.parse_example(example, example_shape, seed),
            progress=progress,
        )
    if as_json:
        print_json(entry_document(entry))
        return
    for line in _lines(entry):
        say(line)
    if entry.unwrapping.doubts:
        warn(
            f"registry: some names of {entry.ref} may still hold a wrapper's component; "
            f"`registry show {entry.ref}` names it"
        )


def _lines(entry: Entry) -> list[str]:
    """Word what became of the push: a new version, how its names were read, or the one that was there."""
    if entry.reused:  # what is known of that one is how it came, not how this file has the weights
        of = f", pushed from {entry.source_name}" if entry.source_name else ""
        return [*entry.notices, f"already stored as {entry.ref}{of}; --force-new would make another version"]
    names = decision(entry.unwrapping, entry.tensor_count, entry.saved_as, entry.wrapper)
    place = [f"weights at `{entry.weights_key}` in {entry.source_name}"] if entry.weights_key else []
    return [*names, *place, *entry.notices, f"stored {entry.ref}  {size(entry.byte_count)}  digest {entry.digest[:12]}"]
