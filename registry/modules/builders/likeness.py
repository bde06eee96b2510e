"""Whether what a library makes of a live model's configuration is that model, but for the values of its tensors."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from registry.modules.building.prints import fingerprint
from registry.modules.layout import bare, layout, model_class

_ASIDE = frozenset({"training", "name_or_path", "gradient_checkpointing", "is_loaded_in_8bit", "is_loaded_in_4bit"})
"""Attributes that say how a model is being used, and not what it computes in evaluation."""
_SCALARS = (bool, int, float, str, type(None))


def differences(live: nn.Module, built: nn.Module) -> Iterator[str]:
    """Yield clauses on what differs beside the state dict: classes, settings, and tensors that are not saved."""
    mine, theirs = _parts(live), _parts(built)
    for path in mine.keys() ^ theirs.keys():
        yield f"the live model {'has' if path in mine else 'lacks'} the module '{path}'"
    for path in [path for path in mine if path in theirs]:
        one, other = mine[path], theirs[path]
        named = f"'{path}'" if path else "the model"
        if model_class(one) is not model_class(other):
            yield f"{named} is a {model_class(one).__name__} and would be a {model_class(other).__name__}"
            continue
        settings, made = _settings(one), _settings(other)
        for key in sorted(settings.keys() & made.keys()):
            if settings[key] != made[key]:
                yield f"{key} of {named} is {settings[key]!r:.40} and would be {made[key]!r:.40}"
        for key, buffer in _unsaved(one).items():
            if key not in _unsaved(other) or _print(buffer) != _print(_unsaved(other)[key]):
                yield f"the buffer '{f'{path}.{key}'.lstrip('.')}', which is not saved, has other values"


def _parts(module: nn.Module) -> dict[str, nn.Module]:
    return {prefix.removesuffix("."): part for prefix, part in layout(bare(module)).parts}


def _settings(module: nn.Module) -> dict[str, object]:
    """Return the plain attributes of a module; a hook or a wrapper may add more, which the class did not make."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and name not in _ASIDE and isinstance(value, _SCALARS)
    }


def _unsaved(module: nn.Module) -> dict[str, torch.Tensor]:
    names = vars(module)["_non_persistent_buffers_set"]
    return {name: b for name, b in vars(module)["_buffers"].items() if b is not None and name in names}


def _print(tensor: torch.Tensor) -> str:
    return fingerprint(tensor.detach().cpu(), is_leaf=True)
