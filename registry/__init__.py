"""A versioned registry of PyTorch checkpoints in one canonical, unwrapped form.

The verbs are those of :class:`registry.Registry`, on the default home::

    import registry

    entry = registry.push("best.pth", "pointnet", from_="ddp")
    model = registry.load("pointnet:v3", ddp=True, rank=rank)

Importing this package imports neither torch nor SQLAlchemy; a verb does when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry import errors as errors
    from registry.catalog.entry import Entry as Entry
    from registry.modules.building.remember import remember as remember
    from registry.modules.origin import loaded_from as loaded_from
    from registry.registry import Registry as Registry

    _verbs = Registry()  # each of `VERBS` is one of its methods
    add_token = _verbs.add_token
    alias = _verbs.alias
    annotate = _verbs.annotate
    audit = _verbs.audit
    blame = _verbs.blame
    card = _verbs.card
    check = _verbs.check
    copy = _verbs.copy
    diff = _verbs.diff
    doctor = _verbs.doctor
    export = _verbs.export
    gc = _verbs.gc
    get = _verbs.get
    import_folder = _verbs.import_folder
    init = _verbs.init
    inspect = _verbs.inspect
    list = _verbs.list
    load = _verbs.load
    log = _verbs.log
    models = _verbs.models
    move = _verbs.move
    prune = _verbs.prune
    push = _verbs.push
    rename = _verbs.rename
    replay = _verbs.replay
    restore = _verbs.restore
    resume = _verbs.resume
    revoke_token = _verbs.revoke_token
    rm = _verbs.rm
    rollback = _verbs.rollback
    state_dict = _verbs.state_dict
    tag = _verbs.tag
    tokens = _verbs.tokens
    unalias = _verbs.unalias

VERBS = (
    "add_token",
    "alias",
    "annotate",
    "audit",
    "blame",
    "card",
    "check",
    "copy",
    "diff",
    "doctor",
    "export",
    "gc",
    "get",
    "import_folder",
    "init",
    "inspect",
    "list",
    "load",
    "log",
    "models",
    "move",
    "prune",
    "push",
    "rename",
    "replay",
    "restore",
    "resume",
    "revoke_token",
    "rm",
    "rollback",
    "state_dict",
    "tag",
    "tokens",
    "unalias",
)
"""Methods of ``Registry`` that are functions of this package too, on the default home."""

_EXPORTS = {
    "Entry": "catalog.entry",
    "Registry": "registry",
    "errors": "errors",
    "loaded_from": "modules.origin",
    "remember": "modules.building.remember",
}

__all__ = [*VERBS, *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("checkpoint-registry")
    if name in VERBS:
        return getattr(_default(), name)
    if name in _EXPORTS:
        module = importlib.import_module(f"{__name__}.{_EXPORTS[name]}")
        return module if _EXPORTS[name] == name else getattr(module, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> Sequence[str]:
    return sorted(__all__)


def _default() -> Registry:
    """Return the registry of the home that ``REGISTRY_HOME`` names now, or of the user's data directory."""
    from registry.registry import default_registry

    return default_registry()
