"""What names a class and its init arguments, and how it is called."""

from __future__ import annotations

import argparse
import difflib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from registry.errors.models import (
    BadTarget,
    ConstructorFailed,
    InitRefused,
    ModuleNotImportable,
    NoSuchClass,
    NotAModel,
    NotAModelClass,
    UnknownInitStyle,
    first_line,
)

INIT_STYLES = ("kwargs", "namespace", "dict")
"""How a class takes its init arguments: each by its name, all in one ``argparse.Namespace``, all in one dict."""

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class ModelSpec:
    """A class and the arguments that make a model of it."""

    target: str
    """``"package.module:Class"``, or a function in the place of the class."""
    init: Mapping[str, Any] = field(default_factory=dict)
    init_as: str = "kwargs"
    """One of ``INIT_STYLES``."""

    def __post_init__(self) -> None:
        if self.init_as not in INIT_STYLES:
            raise UnknownInitStyle(self.init_as, INIT_STYLES)
        if not _TARGET.fullmatch(self.target):
            raise BadTarget(self.target)

    def accepted(self, offered: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the arguments offered that the constructor has names for."""
        if self.init_as != "kwargs":
            return dict(offered)
        parameters = _parameters(resolve_target(self.target))
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return dict(offered)
        named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        return {name: value for name, value in offered.items() if name in named}

    def construct(self) -> nn.Module:
        """Call the class in the ordinary way.

        Raises:
            ModelError: the class cannot be imported, refuses its arguments, raises, or is no model.
        """
        constructor = resolve_target(self.target)
        arguments, keywords = self._call()
        self._check_arguments(constructor, arguments, keywords)
        with _current_directory_importable():
            try:
                module = constructor(*arguments, **keywords)
            except (Exception, SystemExit) as error:
                raise ConstructorFailed(self.target, type(error).__name__, first_line(error)) from error
        if not isinstance(module, nn.Module):
            raise NotAModel(self.target, _described(module))
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


def resolve_target(target: str) -> Callable[..., Any]:
    """Import ``"package.module:Class"`` and return what it names; the current directory is importable too.

    Raises:
        ModelError: there is no such module or name, or it is neither a ``torch.nn.Module`` class nor a function.
    """
    if not _TARGET.fullmatch(target):
        raise BadTarget(target)
    module_name, _, path = target.partition(":")
    found: Any = _import(target, module_name)
    for name in path.split("."):
        if not hasattr(found, name):
            raise NoSuchClass(target, module_name, path, _nearest(name, found))
        found = getattr(found, name)
    if inspect.isclass(found):
        if not issubclass(found, nn.Module):
            raise NotAModelClass(target, f"the class {found.__qualname__}, which is no torch.nn.Module")
    elif isinstance(found, nn.Module) or not callable(found):
        raise NotAModelClass(target, _described(found))
    return found  # type: ignore[no-any-return]


def _import(target: str, name: str) -> Any:
    with _current_directory_importable():
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                remedy = "run from the folder that holds it, or install it"
                raise ModuleNotImportable(target, name, f"there is no module '{error.name}'", remedy) from error
            remedy = "install what it imports"
            raise ModuleNotImportable(target, name, f"it imports '{error.name}', which is missing", remedy) from error
        except (Exception, SystemExit) as error:
            reason = f"importing it raised {type(error).__name__}: {first_line(error)}"
            raise ModuleNotImportable(target, name, reason, "make it importable without side effects") from error


@contextmanager
def _current_directory_importable() -> Iterator[None]:
    """Let imports find what `python -m` would, after everything that is installed."""
    here = os.getcwd()  # noqa: PTH109  # sys.path holds texts
    if here in sys.path:
        yield
        return
    importlib.invalidate_caches()  # a module written since the last import would not be seen
    sys.path.append(here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _parameters(constructor: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return [
            p.replace(annotation=inspect.Parameter.empty) for p in inspect.signature(constructor).parameters.values()
        ]
    except (ValueError, TypeError):
        return []


def _nearest(name: str, holder: Any) -> list[str]:
    return difflib.get_close_matches(name, [n for n in dir(holder) if not n.startswith("__")], n=3)


def _described(value: Any) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[:1] in 'AEIOUaeiou' else 'a'} {kind}"
