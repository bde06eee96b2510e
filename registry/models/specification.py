"""What names a class and its init arguments, and how it is called."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from registry.canonical.arguments import UNKNOWN, Arguments
from registry.errors.intake import UnstorableInit
from registry.errors.models import (
    BadTarget,
    ConstructorFailed,
    InitUnknown,
    ModuleNotImportable,
    NoSuchClass,
    NotAModel,
    NotAModelClass,
    UnknownInitStyle,
    first_line,
)
from registry.models.constructor import (
    INIT_STYLES,
    Call,
    attributes_read,
    note,
    noted,
    signature_of,
    texts_for_numbers,
)

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
        if self.init_as == UNKNOWN:
            raise InitUnknown(self.target)
        if self.init_as not in INIT_STYLES:
            raise UnknownInitStyle(self.init_as, INIT_STYLES)
        if not _TARGET.fullmatch(self.target):
            raise BadTarget(self.target)

    def accepted(self, offered: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the arguments offered that the constructor has names for."""
        if self.init_as != "kwargs":
            return dict(offered)
        signature = signature_of(resolve_target(self.target))
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
        constructor = resolve_target(self.target)
        call = Call.of(self.init, self.init_as)
        call.check(constructor, self.target, self.init_as)
        with _current_directory_importable():
            try:
                module = constructor(*call.args, **call.kwargs)
            except (Exception, SystemExit) as error:
                said = type(error).__name__, first_line(error)
                raise ConstructorFailed(self.target, *said, self._hint(constructor, error)) from error
        if not isinstance(module, nn.Module):
            raise NotAModel(self.target, _described(module))
        self._noted(module)
        return module

    def _noted(self, module: nn.Module) -> None:
        """Let the module know how it was made, so that it can be pushed again after it was trained on."""
        if self.init_as == "kwargs" and type(module) is resolve_target(self.target) and noted(module) is None:
            try:
                note(module, Arguments.of(self.init, self.target))
            except UnstorableInit as error:
                note(module, str(error))

    def _hint(self, constructor: Callable[..., Any], error: BaseException) -> str:
        """Return what to do about a constructor that raised, where its arguments tell."""
        if isinstance(error, AttributeError) and self.init_as == "namespace" and type(error.obj) is Namespace:
            wanted = [name for name in attributes_read(constructor) if name not in self.init]
            if wanted or error.name:
                return f"give them: {' '.join(f'--init {name}=...' for name in wanted or [str(error.name)])}"
        texts = texts_for_numbers(constructor, self.init) if self.init_as == "kwargs" else []
        if texts and isinstance(error, (TypeError, ValueError)):
            return f"{' and '.join(texts)} {'are texts' if len(texts) > 1 else 'is a text'}"
        return ""


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


def _nearest(name: str, holder: Any) -> list[str]:
    return difflib.get_close_matches(name, [n for n in dir(holder) if not n.startswith("__")], n=3)


def _described(value: Any) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[:1] in 'AEIOUaeiou' else 'a'} {kind}"
