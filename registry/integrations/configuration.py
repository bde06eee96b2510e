"""Models of transformers, which are made from a configuration and not from plain arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from registry.modules.building.target import resolve_target, target_of


def construction(model: PreTrainedModel) -> dict[str, Any]:
    """Return what ``registry.push`` is to know of how a model of transformers is made: from its configuration.

    Of a class that no other process can import that is nothing; the push then says why.
    """
    target, _ = target_of(type(model))
    if target is None:
        return {}
    config = json.loads(model.config.to_json_string(use_diff=True))
    return {"model": f"{__name__}:configured", "init": {"model": target, "config": config}}


def configured(model: str, config: Mapping[str, Any]) -> PreTrainedModel:
    """Make a model of transformers of its class (``"package.module:Class"``) and the values of its configuration.

    Whether that class may be imported was asked before, as for every class that a version names.
    """
    cls: Any = resolve_target(model, functions=False)
    built: PreTrainedModel = cls(cls.config_class.from_dict(dict(config)))
    return built
