"""What names a class and its init arguments, and how it is called."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from registry.errors.models import (
    ConstructorFailed,
    InitRefused,
    NotAModel,
    UnknownInitStyle,
    first_line,
)
from registry.models.target import check_target, current_directory_importable, described, resolve_target

INIT_STYLES = ("kwargs", "namespace", "dict")
"""How a class takes its init arguments: each by its name, all in one ``argparse.Namespace``, all in one dict."""


@dataclass(frozen=True)
class ModelSpec:
    """A class and the arguments that make a model of it."""

    target: str
    """``"package.module:Class"``, or a function in the place of the class."""
    init: Mapping[str, Any] = field(default_factory=dict)
    init_as: str = "kwargs"
    """One of ``INIT_STYLES``."""
    cls: type[nn.Module] | None = None
    """The class itself, where the caller gave it; nothing is imported then."""
    allows_function: bool = True
    """Whether the target may lead to a function: somebody named it, rather than that it was read off a model."""

    def __post_init__(self) -> None:
        if self.init_as not in INIT_STYLES:
            raise UnknownInitStyle(self.init_as, INIT_STYLES)
        if self.cls is None:
            check_target(self.target)

    @property
    def constructor(self) -> Callable[..., Any]:
        """What is called, imported if need be.

        Raises:
            ModelError: it cannot be imported, or is neither a class of models nor a function.
        """
        return self.cls if self.cls is not None else resolve_target(self.target, functions=self.allows_function)

    @property
    def is_function(self) -> bool:
        """Whether a function stands in the place of the class."""
        return not isinstance(self.constructor, type)

    def accepted(self, offered: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the arguments offered that the constructor has names for."""
        if self.init_as != "kwargs":
            return dict(offered)
        parameters = _parameters(self.constructor)
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return dict(offered)
        named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        return {name: value for name, value in offered.items() if name in named}

    def construct(self) -> nn.Module:
        """Call the class in the ordinary way.

        Raises:
            ModelError: the class cannot be imported, refuses its arguments, raises, or is no model.
        """
        constructor = self.constructor
        arguments, keywords = self._call()
        self._check_arguments(constructor, arguments, keywords)
        with current_directory_importable():
            try:
                module = constructor(*arguments, **keywords)
            except (Exception, SystemExit) as error:
                raise ConstructorFailed(self.target, type(error).__name__, first_line(error)) from error
        if not isinstance(module, nn.Module):
            raise NotAModel(self.target, described(module))
        return module

    def _call(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self.init_as == "namespace":
            return (argparse.Namespace(**self.init),), {}
        if self.init_as == "dict":
            return (dict(self.init),), {}
        return (), dict(self.init)

    def _check_arguments(
        self, constructor: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        try:
            signature = inspect.signature(constructor)
        except (ValueError, TypeError):  # builtins have none; the call itself will tell
            return
        try:
            signature.bind(*arguments, **keywords)
        except TypeError as error:
            parameters = _parameters(constructor)
            required = [p for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
            wants_one_object = self.init_as == "kwargs" and len(required) == 1 and required[0].name not in keywords
            raise InitRefused(
                self.target, str(error), [str(p) for p in parameters], namespace_helps=wants_one_object
            ) from error


def _parameters(constructor: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return [
            p.replace(annotation=inspect.Parameter.empty) for p in inspect.signature(constructor).parameters.values()
        ]
    except (ValueError, TypeError):
        return []
