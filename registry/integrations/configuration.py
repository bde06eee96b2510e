"""Models of transformers, which are made from a configuration and not from plain arguments."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel


def construction(model: PreTrainedModel) -> dict[str, Any]:
    """Return what ``registry.push`` is to know of how a model of transformers is made: from its configuration."""
    config = json.loads(model.config.to_json_string(use_diff=True))
    target = f"{type(model).__module__}:{type(model).__qualname__}"
    return {"model": f"{__name__}:configured", "init": {"model": target, "config": config}}


def configured(model: str, config: Mapping[str, Any]) -> PreTrainedModel:
    """Make a model of transformers of its class (``"package.module:Class"``) and the values of its configuration."""
    module, _, name = model.partition(":")
    cls: type[PreTrainedModel] = getattr(importlib.import_module(module), name)
    return cls(cls.config_class.from_dict(dict(config)))
