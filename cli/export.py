"""``registry export``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import completion, options
from .progress import progress_bar
from .rendering import print_json, say, size


def export(
    ref: options.Ref,
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="The file, or with hf the folder, to write; it must not exist.")
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="safetensors, pth, ddp, compile, as-saved or hf. [default: what OUT's suffix says]",
            autocompletion=completion.formats,
        ),
    ] = None,
    part: options.Part = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Write a version to a file or folder that other programs read.

    The suffix of OUT decides: .safetensors, or .pth, .pt and the like for a file of torch. safetensors and pth have the
    canonical names; ddp and compile those that the wrapped model loads; as-saved those of the file that was pushed. hf
    is a folder that from_pretrained loads: weights, configurations, tokenizer and card.

    Example: registry export pointnet:best best_ddp.pth --format ddp
    """
    from registry.loading.export import format_of

    written = format_of(out, format)
    with progress_bar(f"writing {out}", quiet=as_json) as progress:
        path = options.registry_at(home).export(ref, out, format=written, part=part, progress=progress)
    files = path.rglob("*") if path.is_dir() else [path]
    nbytes = sum(file.stat().st_size for file in files if file.is_file())
    if as_json:
        print_json({"path": str(path), "format": written, "bytes": nbytes})
    else:
        say(f"wrote {path} ({written}, {size(nbytes)})")
