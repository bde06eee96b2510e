"""``registry restore``."""

from __future__ import annotations

from . import options
from .rendering import entry_document, print_json, say


def restore(ref: options.Ref, home: options.Home = None, as_json: options.Json = False) -> None:
    """Take a version out of the trash.

    Example: registry restore pointnet:v2
    """
    entry = options.registry_at(home).restore(ref)
    if as_json:
        print_json(entry_document(entry))
    else:
        say(f"{entry.ref} is back")
