"""Models of diffusers, from ``config.json`` with its ``_class_name``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import diffusers
from torch import nn

from registry.errors.libraries import LibraryRefused
from registry.modules.builders.table import MAIN
from registry.modules.layout import bare, model_class


def build(config: Mapping[str, Any]) -> nn.Module:
    """Make the model that ``_class_name`` names, a class of the library itself."""
    found = config.get(MAIN)
    if not isinstance(found, dict):
        raise LibraryRefused("diffusers", f"there is no {MAIN}")
    built: nn.Module = _class(found).from_config(found)
    return built


def describe(module: nn.Module) -> dict[str, str]:
    """Return the configuration as ``save_pretrained`` writes it."""
    model: Any = bare(module)
    found = json.loads(model.to_json_string())
    found.pop("_name_or_path", None)
    if _class(found) is not model_class(module):
        raise LibraryRefused("diffusers", f"{model_class(module).__name__} is not a class of the library")
    return {MAIN: json.dumps(found, indent=2, sort_keys=True) + "\n"}


def names_in_files(module: nn.Module) -> dict[str, str]:
    """Return nothing: the names are the same."""
    return {}


def converted(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return nothing: there is no other form."""
    return None


def _class(config: Mapping[str, Any]) -> Any:
    name = config.get("_class_name")
    if not isinstance(name, str) or not name.isidentifier():
        raise LibraryRefused("diffusers", "its config.json names no class under '_class_name'")
    if config.get("quantization_config"):
        raise LibraryRefused("diffusers", "the weights are quantized, which only its from_pretrained takes")
    cls = getattr(diffusers, name, None)
    is_model = isinstance(cls, type) and issubclass(cls, diffusers.ModelMixin)
    if not is_model or not cls.__module__.startswith("diffusers."):
        raise LibraryRefused("diffusers", f"'{name:.60}' is not a model of diffusers {diffusers.__version__}")
    return cls
