"""Models of transformers, from ``config.json`` with its ``architectures``, and ``generation_config.json``."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import nn

from registry.errors.libraries import LibraryRefused
from registry.modules.builders.table import MAIN
from registry.modules.layout import bare, layout, model_class

GENERATION = "generation_config.json"
_NOT_DATA = ("auto_map", "attn_implementation", "experts_implementation", "custom_pipelines")
"""What would have code fetched and run, or chooses a kernel of this machine, in any part of a configuration."""


def build(config: Mapping[str, Any]) -> nn.Module:
    """Make the model that ``architectures`` names; a class of the library itself, and never code beside the weights."""
    if MAIN not in config:
        raise LibraryRefused("transformers", f"there is no {MAIN}")
    found = _data(config[MAIN])
    cls = _class(found)
    model: Any = cls._from_config(cls.config_class.from_dict(found))
    if GENERATION in config and hasattr(model, "generation_config"):
        model.generation_config = transformers.GenerationConfig.from_dict(_data(config[GENERATION]))
    built: nn.Module = model
    return built


def describe(module: nn.Module) -> dict[str, str]:
    """Return the configurations as ``save_pretrained`` writes them."""
    model: Any = bare(module)
    config = copy.deepcopy(model.config)
    config.architectures = [model_class(module).__name__]
    config.dtype = str(model.dtype).removeprefix("torch.")
    config.name_or_path = ""
    texts = {MAIN: config.to_json_string(use_diff=True)}
    if model.can_generate() and model.generation_config is not None:
        texts[GENERATION] = model.generation_config.to_json_string(use_diff=True)
    found = _class(config.to_dict())
    if found is not model_class(module):
        raise LibraryRefused("transformers", f"{model_class(module).__name__} is not a class of the library")
    return texts


def names_in_files(module: nn.Module) -> dict[str, str]:
    """Return what ``save_pretrained`` calls the tensors that it renames; those that it splits or joins are left out."""
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:  # before 5.0 there was one form
        return {}
    model: Any = bare(module)
    stand_ins = {
        name: torch.empty(slot.tensor.shape, dtype=slot.tensor.dtype, device="meta")
        for name, slot in layout(model).slots.items()
    }
    names = {id(tensor): name for name, tensor in stand_ins.items()}
    written = revert_weight_conversion(model, dict(stand_ins))
    return {names[id(tensor)]: name for name, tensor in written.items() if id(tensor) in names}


def converted(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the state of the model that ``from_pretrained`` makes of a file's tensors.

    Raises:
        LibraryRefused: the file lacks some, or has some that the model does not.
    """
    found = _data(config[MAIN])
    cls: Any = _class(found)
    model, told = cls.from_pretrained(
        None,
        config=cls.config_class.from_dict(found),
        state_dict=dict(tensors),
        output_loading_info=True,
        local_files_only=True,
    )
    for key, what in (("missing_keys", "it has no"), ("unexpected_keys", "no tensor of the model is")):
        if names := sorted(told.get(key, ())):
            raise LibraryRefused(
                "transformers", f"{what} '{names[0]}'" + f" and {len(names) - 1} more" * (len(names) > 1)
            )
    state: dict[str, Any] = model.state_dict()
    return state


def _class(config: Mapping[str, Any]) -> Any:
    """Return the class that a configuration names.

    Raises:
        LibraryRefused: it names none, or none of the library.
    """
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if not isinstance(name, str) or not name.isidentifier():
        raise LibraryRefused("transformers", "its config.json names no class under 'architectures'")
    if config.get("quantization_config"):
        raise LibraryRefused("transformers", "the weights are quantized, which only its from_pretrained takes")
    cls: Any = getattr(transformers, name, None)
    is_model = isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)
    if not is_model or not cls.__module__.startswith("transformers."):
        raise LibraryRefused(
            "transformers",
            f"'{name:.60}' is not a model of transformers {transformers.__version__}; code that comes "
            "with weights is never run",
        )
    kind = config.get("model_type")
    if kind is not None and kind != cls.config_class.model_type:
        raise LibraryRefused("transformers", f"{name} is made of another configuration than model_type '{kind!s:.60}'")
    return cls


def _data(value: Any) -> Any:
    """Return a configuration without what is no data, at any depth."""
    if isinstance(value, dict):
        kept = {k: _data(v) for k, v in value.items() if str(k).lstrip("_").removesuffix("_internal") not in _NOT_DATA}
        if kept.get("use_pretrained_backbone"):
            kept["use_pretrained_backbone"] = False  # its weights are among those of the whole
        return kept
    return [_data(item) for item in value] if isinstance(value, list) else value
