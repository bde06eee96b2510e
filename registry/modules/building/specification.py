"""What names a class and its init arguments, and how it is called."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from torch import nn

from registry.errors.models import (
    ConstructorFailed,
    InitUnknown,
    NotAModel,
    UnknownInitStyle,
    described,
    first_line,
)
from registry.modules.building.constructor import (
    Call,
    attributes_read,
    note_if_storable,
    noted,
    signature_of,
    texts_for_numbers,
)
from registry.modules.building.target import check_target, current_directory_importable, resolve_target
from registry.tensors.arguments import STYLES, UNKNOWN


class Constructs(Protocol):
    """What makes a model: a class with its arguments, or a library with a configuration."""

    @property
    def target(self) -> str:
        """How it is called in an error."""

    def construct(self) -> nn.Module:
        """Make the model, in the ordinary way.

        Raises:
            ModelError, LibraryMissing, LibraryRefused: it cannot be made here.
        """


@dataclass(frozen=True)
class ModelSpec:
    """A class and the arguments that make a model of it."""

    target: str
    """``"package.module:Class"``, or a function in the place of the class."""
    init: Mapping[str, Any] = field(default_factory=dict)
    init_as: str = "kwargs"
    """One of ``STYLES``."""
    cls: type[nn.Module] | None = None
    """The class itself, where the caller gave it; nothing is imported then."""
    allows_function: bool = True
    """Whether the target may lead to a function: somebody named it, rather than that it was read off a model."""

    def __post_init__(self) -> None:
        if self.init_as == UNKNOWN:
            raise InitUnknown(self.target)
        if self.init_as not in STYLES:
            raise UnknownInitStyle(self.init_as, STYLES)
        if self.cls is None:
            check_target(self.target)

    @cached_property
    def constructor(self) -> Callable[..., Any]:
        """What is called, imported if need be.

        Raises:
            ModelError: it cannot be imported, or is neither a class of models nor a function.
        """
        return self.cls if self.cls is not None else resolve_target(self.target, functions=self.allows_function)

    def accepted(self, offered: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the arguments offered that the constructor has names for."""
        if self.init_as != "kwargs":
            return dict(offered)
        signature = signature_of(self.constructor)
        parameters = [*signature.parameters.values()] if signature is not None else []
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
        call = Call.of(self.init, self.init_as)
        call.check(constructor, self.target, self.init_as)
        with current_directory_importable():
            try:
                module = constructor(*call.args, **call.kwargs)
            except (Exception, SystemExit) as error:
                said = type(error).__name__, first_line(error)
                raise ConstructorFailed(self.target, *said, self._hint(constructor, error)) from error
        if not isinstance(module, nn.Module):
            raise NotAModel(self.target, described(module))
        # So that it can be pushed again after it was trained on.
        if self.init_as == "kwargs" and type(module) is constructor and noted(module) is None:
            note_if_storable(module, self.init, self.target)
        return module

    def _hint(self, constructor: Callable[..., Any], error: BaseException) -> str:
        """Return what to do about a constructor that raised, where its arguments tell."""
        if isinstance(error, AttributeError) and self.init_as == "namespace" and type(error.obj) is Namespace:
            wanted = [name for name in attributes_read(constructor) if name not in self.init]
            if wanted or error.name:
                return f"give them: {' '.join(f'--init {name}=...' for name in wanted or [str(error.name)])}"
        texts = texts_for_numbers(constructor, self.init) if self.init_as == "kwargs" else []
        if texts and isinstance(error, (TypeError, ValueError)):
            return f"{' and '.join(texts)} {'are texts' if len(texts) > 1 else 'is a text'}, where a number is needed"
        return ""
