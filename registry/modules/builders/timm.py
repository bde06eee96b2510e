"""Models of timm, from ``config.json`` with its ``architecture``, ``model_args`` and ``pretrained_cfg``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.models._hub import save_config_for_hf
from torch import nn

from registry.errors.libraries import LibraryRefused
from registry.modules.builders.table import MAIN
from registry.modules.layout import bare

_SOURCES = ("url", "file", "source", "state_dict", "hf_hub_id", "hf_hub_filename", "custom_load")
"""Where weights would come from; they are at hand."""
_PLACES = ("pretrained", "pretrained_cfg", "checkpoint_path", "cache_dir", "device", "dtype")
"""What are no arguments of the model."""


def build(config: Mapping[str, Any]) -> nn.Module:
    """Make the model that ``architecture`` names in the library's own table."""
    found = config.get(MAIN)
    name = found.get("architecture") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(name, str) or not timm.is_model(name):
        raise LibraryRefused("timm", f"{name!s:.60} is not a model of timm {timm.__version__}")
    given = found.get("pretrained_cfg", {key: value for key, value in found.items() if key != "architecture"})
    described = {key: value for key, value in given.items() if key not in _SOURCES}
    described.update({key: found[key] for key in ("num_classes", "label_names") if key in found})
    arguments = {key: value for key, value in found.get("model_args", {}).items() if key not in _PLACES}
    built: nn.Module = timm.create_model(name, pretrained=False, pretrained_cfg=described, **arguments)
    return built


def describe(module: nn.Module) -> dict[str, str]:
    """Return the configuration as ``push_to_hf_hub`` writes it."""
    model: Any = bare(module)
    with tempfile.TemporaryDirectory(prefix="registry-") as folder:
        save_config_for_hf(model, str(Path(folder, MAIN)))
        return {MAIN: Path(folder, MAIN).read_text()}


def names_in_files(module: nn.Module) -> dict[str, str]:
    """Return nothing: the names are the same."""
    return {}


def converted(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return nothing: there is no other form."""
    return None
