"""``registry show``."""

from __future__ import annotations

import json

from . import options
from .rendering import decision, entry_document, figures, local, print_json, say, size


def show(ref: options.Ref, home: options.Home = None, as_json: options.Json = False) -> None:
    """Show everything that is known of a version.

    Example: registry show pointnet:best
    """
    entry = options.registry_at(home).get(ref)
    if as_json:
        print_json(entry_document(entry))
        return
    build = f"{entry.model_class}({json.dumps(entry.init)[1:-1]})" if entry.model_class else "not known"
    facts = {
        "version": entry.ref,
        "digest": entry.digest,
        "record": entry.record_digest,
        "aliases": ", ".join(entry.aliases),
        "metrics": figures(entry.metrics),
        "class": f"{build}" + (f", init as {entry.init_as}" if entry.init_as != "kwargs" else ""),
        "wrapper": f"{entry.wrapper}, saved {entry.saved_as}",
        "evidence": entry.unwrapping.evidence or "",
        "world size": str(entry.world_size or ""),
        "tensors": f"{entry.tensor_count}, {entry.parameter_count} elements, {size(entry.byte_count)}",
        "dtypes": ", ".join(f"{number} {dtype}" for dtype, number in entry.dtypes.items()),
        "parent": entry.parent or "",
        "source": f"{entry.source_name} ({entry.source_format})",
        "weights at": entry.weights_key,
        "sha256": entry.source_sha256 or "",
        "torch": entry.torch_version or "",
        "commit": entry.git_commit or "",
        "pushed": f"{local(entry.created_at)} by {entry.creator}",
        "note": " ".join(entry.note.splitlines()),
    }
    width = max(map(len, facts))
    for key, value in facts.items():
        if value:
            say(f"{key.ljust(width)}  {value}")
    for line in decision(entry.unwrapping, entry.tensor_count, entry.saved_as, entry.wrapper)[:-1]:
        say(f"{'names'.ljust(width)}  {line}")
