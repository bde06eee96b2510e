"""``registry restore``."""

from __future__ import annotations

from . import options
from .rendering import entry_document, print_json, say


def restore(refs: options.Refs, home: options.Home = None, as_json: options.Json = False) -> None:
    """Take versions out of the trash: all that are named, or none.

    If one cannot come back, none does. The aliases that they lost point to them again, unless they point elsewhere
    by now.

    Example: registry restore pointnet:v2
    """
    registry = options.registry_at(home)
    entries = registry.restore(refs)
    if as_json:
        one = entry_document(entries[0]) if len(entries) == 1 else {}
        print_json({**one, "versions": [entry_document(entry) for entry in entries]})
        return
    for entry in entries:
        say(f"{entry.ref} is back")
        for notice in entry.notices:
            say(f"  {notice}")
    for name in (ref for ref in refs if ":" not in ref and registry.list(ref, trashed=True, limit=1)):
        say(f"other versions of {name} are in the trash still; `registry list {name} --trash` lists them")
