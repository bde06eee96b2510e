"""Adapters of PEFT, from ``adapter_config.json``, on the model that they are of."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from registry.errors.libraries import BaseAltered, LibraryRefused
from registry.modules.anatomy import parts
from registry.modules.builders.table import ADAPTER
from registry.modules.layout import bare, layout

ADAPTER_NAME = "default"
_HARMLESS = ("gaussian", "orthogonal", "eva")
"""Ways to initialize an adapter that leave the weights of its base alone."""


_KINDS = (
    *("LORA", "ADALORA", "LOHA", "LOKR", "IA3", "OFT", "BOFT", "VERA", "HRA", "FOURIERFT", "LN_TUNING", "BONE"),
    *("MISS", "RANDLORA", "C3A", "ROAD", "SHIRA", "TRAINABLE_TOKENS", "VBLORA", "WAVEFT", "DELORA", "GRALORA", "HIRA"),
)
"""Adapters that are layers in their base, made of plain data. Others have a tokenizer, weights or models loaded from
where the configuration says, or are saved otherwise than they are held."""
_NOT_DATA = ("auto_mapping", "runtime_config", "megatron_config", "megatron_core")
"""What names modules that would be imported."""


def build(config: Mapping[str, Any]) -> nn.Module:
    """Refuse: an adapter is made on its base, by ``wrap``."""
    raise LibraryRefused("peft", "an adapter is made on its base")


def describe(module: nn.Module) -> dict[str, str]:
    """Return the configuration of the active adapter as ``save_pretrained`` writes it, without where its base was."""
    model = _model(module)
    found = model.peft_config[_active(model)].to_dict()
    found.update(inference_mode=True, base_model_name_or_path=None, revision=None)
    text = json.dumps(found, indent=2, sort_keys=True, default=_plain)
    return {ADAPTER: text}


def names_in_files(module: nn.Module) -> dict[str, str]:
    """Return nothing: an adapter is stored under the names of its file."""
    return {}


def converted(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return nothing: there is no other form."""
    return None


def wrap(base: nn.Module, config: Mapping[str, Any]) -> nn.Module:
    """Put an adapter, whose values are not set, on a model.

    Raises:
        LibraryRefused: it is of no kind that is made of plain data, or that the library knows.
    """
    kind = config.get("peft_type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise LibraryRefused("peft", f"an adapter of the kind {kind!s:.60} is not made of plain data alone")
    found = {key: value for key, value in config.items() if key not in _NOT_DATA}
    if isinstance(found.get("init_lora_weights"), str):
        found["init_lora_weights"] = True  # which weights it began with, its own say
    found["inference_mode"] = False
    try:
        kinds: Any = PeftConfig
        read = kinds.from_peft_type(**found)
    except (KeyError, ValueError, TypeError) as error:
        raise LibraryRefused("peft", f"its {ADAPTER} is not understood ({error!s:.200})") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped: nn.Module = get_peft_model(base, read, adapter_name=ADAPTER_NAME)
    return wrapped


def changes_base(config: Mapping[str, Any]) -> str | None:
    """Return the way in which an adapter was initialized that changed the weights of its base, or None."""
    way = config.get("init_lora_weights")
    return way if isinstance(way, str) and way not in _HARMLESS else None


def adapter_names(module: nn.Module) -> dict[str, str]:
    """Return the names in an adapter's file by those in the live model; the adapter's own name is in none.

    Raises:
        LibraryRefused: it is of a kind whose file does not hold its tensors as they are.
    """
    model = _model(module)
    slots = layout(model).slots
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_peft_model_state_dict(
            model,
            state_dict={name: slot.tensor for name, slot in slots.items()},
            adapter_name=_active(model),
            save_embedding_layers=False,
        )
    in_file = {id(tensor): name for name, tensor in found.items()}
    names = {name: in_file[id(slot.tensor)] for name, slot in slots.items() if id(slot.tensor) in in_file}
    if set(names.values()) != set(found):
        raise LibraryRefused(
            "peft", f"an adapter like this ({type(model).__name__}) is saved otherwise than it is held"
        )
    return names


def base_names(module: nn.Module) -> dict[str, str]:
    """Return the names that the base's tensors have without an adapter, by those in the live model."""
    model = _model(module)
    base = model.get_base_model()
    prefix = next((f"{path}." for path, part in parts(model) if part is base), "")
    slots = layout(model).slots
    names = {}
    for name in slots:
        if name.startswith(prefix) and (own := _own_name(base, name[len(prefix) :])) is not None:
            names[name] = own
    known = {id(slots[name].tensor): own for name, own in names.items()}
    for name, slot in slots.items():  # what an adapter refers to, such as the embeddings of a prompt
        if name not in names and id(slot.tensor) in known:
            names[name] = known[id(slot.tensor)]
    return names


def base_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the base's tensors under their own names.

    Raises:
        BaseAltered: they are not those that it had without the adapter.
    """
    model = _model(module)
    base: Any = model.get_base_model()
    if any(isinstance(part, BaseTunerLayer) and part.merged for _, part in parts(model)):
        raise BaseAltered("merged with it (unmerge_adapter() undoes that)")
    slots, names = layout(model).slots, base_names(model)
    tensors = {own: slots[name].tensor for name, own in names.items()}
    config = getattr(base, "config", None)
    is_said = getattr(base, "is_quantized", False) or getattr(config, "quantization_config", None)
    odd = [t for t in tensors.values() if type(t) not in (nn.Parameter, torch.Tensor)]
    if is_said or odd:
        raise BaseAltered("quantized")
    return tensors


def base_model(module: nn.Module) -> nn.Module:
    """Return the model that a live adapter is on, with the adapter's layers in it."""
    found: nn.Module = _model(module).get_base_model()
    return found


def _own_name(base: nn.Module, name: str) -> str | None:
    """Return the name that a tensor has where no adapter is, or None of one of an adapter."""
    *path, key = name.split(".")
    module, own = base, []
    for step in path:
        if isinstance(module, BaseTunerLayer):
            if step != "base_layer":
                return None
        elif isinstance(module, AuxiliaryTrainingWrapper):
            if step != "original_module":
                return None
        else:
            own.append(step)
        module = module.__dict__["_modules"][step]
    is_adapters = isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper))
    return None if is_adapters else ".".join((*own, key))


def _model(module: nn.Module) -> Any:
    model = bare(module)
    if not isinstance(model, PeftModel):
        raise LibraryRefused("peft", f"{type(model).__name__} is not a PeftModel")
    return model


def _active(model: Any) -> str:
    name = model.active_adapter
    if not isinstance(name, str):
        raise LibraryRefused("peft", "several adapters are active; set_adapter('default') chooses one")
    return name


def _plain(value: Any) -> Any:
    """Return what JSON has for a value of a configuration."""
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    return getattr(value, "value", None) or str(value)
