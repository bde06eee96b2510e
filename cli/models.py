"""``registry models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import completion, options
from .rendering import ago, print_json, say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.catalog.listing import ModelSummary


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            show_default=False,
            help="Only this model, or a pattern such as 'team/*'.",
            autocompletion=completion.models,
        ),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List the models, each with its newest version and its aliases.

    Example: registry models 'point*'
    """
    found = options.registry_at(home).models(name)
    if as_json:
        print_json(found)
    elif found:
        models_table(found)
    elif name is None:
        say("nothing is stored yet; `registry push FILE` stores a checkpoint")
    else:
        say(f"no model that fits {name} has a version outside the trash")


def models_table(models: Sequence[ModelSummary]) -> None:
    """Print a row for each model."""
    rows = [
        (
            model.name,
            str(model.live),
            f"{model.name}:v{model.newest}",
            ago(model.changed_at),
            ", ".join(f"{alias} v{number}" for alias, number in model.aliases.items()),
        )
        for model in models
    ]
    table((("model", "versions", "newest", "pushed", "aliases"), *rows), right=("versions",), whole=("model", "pushed"))
