"""``registry init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .rendering import print_json, say


def init(
    catalog: Annotated[
        str | None,
        typer.Option(
            "--catalog",
            metavar="ADDRESS",
            help="A PostgreSQL database: postgresql://USER:PASSWORD@HOST/DATABASE, or env:NAME for the variable that "
            "has it. [default: SQLite in the folder]",
        ),
    ] = None,
    blobs: Annotated[
        str | None,
        typer.Option("--blobs", metavar="URL", help="A bucket: s3://BUCKET/PREFIX. [default: files in the folder]"),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="FOLDER", help="Where what is in the bucket is cached on this machine."),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Make a registry on a database server, in a bucket, or both.

    Many machines can then use it. The folder gets a registry.toml that says where; REGISTRY_HOME and --home name
    either. Without options the registry is in the folder, as the first push would make it.

    Example: registry init --catalog env:REGISTRY_CATALOG --blobs s3://bucket/models --cache /scratch/registry
    """
    hub = options.registry_at(home)
    hub.init(catalog=catalog, blobs=blobs, cache=cache)
    where = hub.catalog.where
    if as_json:
        print_json({"home": str(hub.home), "catalog": where, "blobs": blobs})
        return
    say(f"the registry at {hub.home} has its catalog in {where}, and its bytes in {blobs or hub.home}")
    if catalog is not None and ":***@" in where and not catalog.startswith("env:"):
        say("its registry.toml holds the password, and only you can read it; --catalog env:NAME keeps it elsewhere")
