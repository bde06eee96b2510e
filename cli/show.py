"""``registry show``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import options
from .rendering import decision, entry_document, figures, local, print_json, say, size, words

if TYPE_CHECKING:
    from registry.catalog.entry import Entry
    from registry.registry import Registry


def show(ref: options.Ref, home: options.Home = None, as_json: options.Json = False) -> None:
    """Show everything that is known of a version.

    Example: registry show pointnet:best
    """
    registry = options.registry_at(home)
    entry = registry.get(ref)
    if as_json:
        print_json(entry_document(entry))
        return
    facts = {
        "version": entry.ref,
        "digest": entry.digest,
        "record": entry.record_digest,
        "former names": ", ".join(entry.former_names),
        "aliases": ", ".join(entry.aliases),
        "metrics": figures(entry.metrics),
        "tags": words(entry.tags),
        "epoch": "" if entry.epoch is None else str(entry.epoch),
        "step": "" if entry.step is None else str(entry.step),
        "attachments": _attachments(registry, entry),
        "class": _construction(entry),
        "parts": ", ".join(part.part for part in entry.parts),
        "wrapper": f"{entry.wrapper}, saved {entry.saved_as}",
        "evidence": entry.unwrapping.evidence or "",
        "world size": str(entry.world_size or ""),
        "tensors": f"{entry.tensor_count}, {entry.parameter_count} elements, {size(entry.byte_count)}",
        "dtypes": ", ".join(f"{number} {dtype}" for dtype, number in entry.dtypes.items()),
        "parent": entry.parent or "",
        "base": entry.base or "",
        "builder": entry.builder or "",
        "run": entry.run or "",
        "source": f"{entry.source_name} ({entry.source_format})",
        "weights at": entry.weights_key,
        "source digest": entry.source_digest or "",
        "source URI": entry.source_uri or "",
        "saved at": entry.saved_at or "",
        "origin": entry.origin or "",
        "torch": entry.torch_version or "",
        "commit": entry.git_commit or "",
        "pushed": f"{local(entry.created_at)} by {entry.creator}",
        "copied from": entry.copied_from or "",
        "note": " ".join(entry.note.splitlines()),
    }
    width = max(map(len, facts))
    for key, value in facts.items():
        if value:
            say(value, key.ljust(width))
    for line in decision(entry.unwrapping, entry.tensor_count, entry.saved_as, entry.wrapper)[:-1]:
        say(line, "names".ljust(width))


def _attachments(registry: Registry, entry: Entry) -> str:
    """Word what is kept beside the weights: ``example, training (optimizer, scheduler)``."""
    parts = _training(registry, entry)
    named = {"training": f"training ({', '.join(parts)})" if parts else "training"}
    return ", ".join(named.get(kind, kind) for kind in entry.attachments)


def _training(registry: Registry, entry: Entry) -> list[str]:
    """Return what a version's training state is of: optimizer, scheduler, scaler."""
    from registry.catalog.blobs import decode

    body = registry.catalog.document(entry, "training") if "training" in entry.attachments else None
    try:
        kept = decode(body).values if body else {}
    except ValueError:  # an audit says which byte of it is not what it was
        return []
    return [part for part in ("optimizer", "scheduler", "scaler") if part in kept]


def _construction(entry: Entry) -> str:
    """Word how the model is made, or each part of it, as Python has it."""
    if entry.parts:
        return "; ".join(f"{part.part}: {_call(part.model_class, part.init)}" for part in entry.parts)
    if entry.builder is not None:
        return f"{entry.model_class or 'a model'}, made by {entry.builder} of its configuration"
    return _call(entry.model_class, None if entry.init_as == "unknown" else entry.init, entry.init_as)


def _call(model_class: str | None, init: Mapping[str, Any] | None, init_as: str = "kwargs") -> str:
    if model_class is None:
        return "not known"
    if init is None:
        return f"{model_class}, with constructor arguments that are not known"
    arguments = ", ".join(f"{name}={value!r}" for name, value in init.items())
    objects = {"namespace": f"Namespace({arguments})", "dict": f"dict({arguments})"}
    return f"{model_class}({objects.get(init_as, arguments)})"
