"""``registry load``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import options
from .progress import progress_bar
from .rendering import print_json, say


def load(
    ref: options.Ref,
    part: options.Part = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="PKG.MOD:CLASS",
            help="The class to build; of several parts PART=PKG.MOD:CLASS for each. "
            "[default: the stored one, if trusted]",
        ),
    ] = None,
    init: options.Init = None,
    init_as: options.InitAs = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="DEVICE", help="Where the model goes. [default: cpu]")
    ] = None,
    allow_missing: Annotated[
        list[str] | None,
        typer.Option("--allow-missing", metavar="PATTERN", help="Names that may keep their initial value: 'head.*'."),
    ] = None,
    allow_unexpected: Annotated[
        list[str] | None,
        typer.Option("--allow-unexpected", metavar="PATTERN", help="Names of the version that may be left out."),
    ] = None,
    allow_shape: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-shape",
            metavar="PATTERN",
            help="Names that keep their initial value if the shape differs: 'head.*'.",
        ),
    ] = None,
    cast: Annotated[
        str | None, typer.Option("--cast", metavar="DTYPE", help="Dtype of every floating-point tensor: bfloat16, ...")
    ] = None,
    base: options.Base = None,
    verify: Annotated[
        str,
        typer.Option(
            "--verify", metavar="HOW", help="Verify hashes: always, once or never; outputs also runs the example again."
        ),
    ] = "always",
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Check that a version loads here, and report what was loaded.

    It tells whether the class that can be imported here takes the weights, before a job finds out. The model itself is
    discarded; `registry export` writes the weights to a file. The stored class is imported where the home is yours
    alone and nobody copied the version there, or REGISTRY_TRUST lists its package; else name it with --model.

    Example: registry load pointnet:best --allow-missing 'head.*'
    """
    how = options.one_of("--verify", verify, ("always", "once", "never", "outputs"))
    dtype = _dtype(cast) if cast is not None else None
    with progress_bar(f"loading {ref}", quiet=as_json) as progress:
        _, report = options.registry_at(home, notify=lambda notice: None).load(  # which is in the report
            ref,
            part=part,
            model=options.parse_model(model),
            init=options.parse_init(init, init_as),
            init_as=init_as,
            device=device,
            allow_missing=allow_missing or (),
            allow_unexpected=allow_unexpected or (),
            allow_shape=allow_shape or (),
            cast=dtype,
            base=base,
            verify=how,
            progress=progress,
            report=True,
        )
    if as_json:
        print_json(vars(report))
        return
    for line in str(report).splitlines():
        say(line)


def _dtype(name: str) -> Any:
    import torch

    dtype = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise typer.BadParameter(f"--cast '{name}' is not a valid dtype of torch; give for example bfloat16")
    return dtype
