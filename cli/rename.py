"""``registry rename``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .rendering import print_json, say


def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The name that the model has.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The name that it shall have, such as team/pointnet.")],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Give a model another name.

    Its versions, aliases and history stay as they are. The old name finds them still, and says what they are called
    now; nothing can be pushed to it, and no other model is ever called so.

    Example: registry rename pointnet team/pointnet
    """
    renamed = options.registry_at(home).rename(old, new)
    if as_json:
        print_json(renamed)
    else:
        say(f"{renamed.was} is called {renamed.name} now; references to {renamed.was} find it still")
