"""The builders: which libraries make models of plain data, and which of them a configuration or a live model is of.

The table is closed. A version names a builder by its word here and nothing else, so nothing that a stranger wrote
decides what is imported; and nothing in here imports a library before a model is built.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from registry.errors.libraries import LibraryMissing, UnknownBuilder
from registry.errors.models import first_line

if TYPE_CHECKING:
    from torch import nn

NONE = "none"
"""What a push says that is to have no builder."""

BUILDERS: Mapping[str, str | None] = {
    "transformers": "transformers.modeling_utils.PreTrainedModel",
    "diffusers": "diffusers.models.modeling_utils.ModelMixin",
    "timm": None,
    "peft": "peft.peft_model.PeftModel",
}
"""By name; the class that its models derive from, where they have one in common."""

STEMS: Mapping[str, str] = {"diffusers": "diffusion_pytorch_model", "peft": "adapter_model"}
"""How the file of the weights is called, but for its suffix, where it is not ``model``."""

MAIN = "config.json"
"""The file that says what a model is."""
ADAPTER = "adapter_config.json"
"""The file that says what an adapter is."""


class Library(Protocol):
    """What each builder's module has."""

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """Make the model of parsed configurations, by path; its values are its own, drawn or not."""

    def describe(self, module: nn.Module) -> dict[str, str]:
        """Return the configurations of a live model, as texts by path."""

    def names_in_files(self, module: nn.Module) -> dict[str, str]:
        """Return what the library calls tensors in its files, by the names in a live model; those that it can tell."""

    def converted(self, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the tensors of a model of which the library's file has these; None if it has no way of its own."""


def check_builder(name: str) -> str:
    """Return a name that stands in the table, or ``none``.

    Raises:
        UnknownBuilder
    """
    if name not in (*BUILDERS, NONE):
        raise UnknownBuilder(name, list(BUILDERS))
    return name


def of_config(config: Mapping[str, str]) -> str | None:
    """Return the builder whose library wrote these configurations, or None."""
    if isinstance(found := parsed(config.get(ADAPTER)), dict) and "peft_type" in found:
        return "peft"
    main = parsed(config.get(MAIN))
    if not isinstance(main, dict):
        return None
    if "_class_name" in main and "_diffusers_version" in main:
        return "diffusers"
    if "model_type" in main or "architectures" in main:
        return "transformers"
    return "timm" if isinstance(main.get("architecture"), str) else None


def of_class(kind: type) -> str | None:
    """Return the builder of a live model, by its class, or None: that of the library itself, and of nobody else."""
    names = {f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__}
    own = kind.__module__.partition(".")[0]
    return own if own in BUILDERS and BUILDERS[own] in (*names, None) else None


def parsed(text: str | None) -> Any:
    """Return what a JSON text says; None of what is not there, or not JSON."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None


def library(name: str, what: str) -> Library:
    """Import a builder.

    Raises:
        UnknownBuilder: there is none of this name.
        LibraryMissing: its library is not installed, or cannot be imported.
    """
    if name not in BUILDERS:
        raise UnknownBuilder(name, list(BUILDERS))
    try:
        with offline():
            return cast("Library", importlib.import_module(f".{name}", __package__))
    except Exception as error:  # a library that is broken raises anything
        raise LibraryMissing(name, what, first_line(error)) from error


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Let no library of Hugging Face reach the network, whatever a configuration asks for."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    constants: Any = sys.modules.get("huggingface_hub.constants")
    was = getattr(constants, "HF_HUB_OFFLINE", None)
    if was is not None:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        constants = sys.modules.get("huggingface_hub.constants")
        if constants is not None:  # imported inside, it read the variable
            constants.HF_HUB_OFFLINE = (
                was if was is not None else before["HF_HUB_OFFLINE"] in ("1", "ON", "YES", "TRUE")
            )
