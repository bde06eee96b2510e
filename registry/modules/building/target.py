"""The text that names a class, ``"package.module:Class"``: what it leads to, and which one leads to a given class."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, all_suffixes
from types import FunctionType, ModuleType
from typing import Any

from torch import nn

from registry.errors.models import (
    BadTarget,
    ModuleNotImportable,
    NoSuchClass,
    NotAModelClass,
    described,
    first_line,
)
from registry.modules.building.trust import require_foreign, top_level

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def check_target(target: str) -> str:
    """Return a text if it has the form of a target.

    Raises:
        BadTarget
    """
    if not _TARGET.fullmatch(target):
        raise BadTarget(target)
    return target


def resolve_target(target: str, *, functions: bool = True) -> Callable[..., Any]:
    """Import ``"package.module:Class"`` and return what it names; the current directory is importable too.

    What is returned is a real class that derives from ``torch.nn.Module``, or a plain function, and nothing on the way
    to it is of the standard library, which is found out before anything is called. Whether the import itself may be
    made is the rule of trust's to say, and has to be asked before.

    Args:
        functions: whether a function may stand in the place of the class.

    Raises:
        StandardLibraryTarget: it leads into the standard library.
        ModelError: there is no such module or name, or it is neither class nor function.
    """
    module_name, _, path = check_target(target).partition(":")
    require_foreign(target, module_name)
    found: Any = _import(target, module_name)
    for name in path.split("."):
        require_foreign(target, *_homes(found))
        if not isinstance(found, (ModuleType, type)):
            raise NotAModelClass(target, f"a part of {described(found)}")
        found = _part(target, found, name)
    require_foreign(target, *_homes(found))
    if issubclass(type(found), type):
        if not issubclass(found, nn.Module):
            raise NotAModelClass(target, f"the class {found.__qualname__}, which is not a torch.nn.Module")
    elif type(found) is not FunctionType:
        raise NotAModelClass(target, described(found))
    elif not functions:
        raise NotAModelClass(target, "a function, and the push did not name one")
    return found  # type: ignore[no-any-return]


def target_of(cls: Any) -> tuple[str | None, str]:
    """Return the target that leads another process to this very class; or None, and a clause that says why none does.

    A function may stand in the place of the class.

    Nothing is imported for this: a class that lies about where it is from would have a word in what.
    """
    module_name, path = str(cls.__module__), str(cls.__qualname__)
    if module_name in ("__main__", "__mp_main__"):
        return None, "it is defined in the running script, which no other process can import"
    if "<locals>" in path:
        return None, "it is defined inside a function"
    target = f"{module_name}:{path}"
    if not _TARGET.fullmatch(target) or top_level(target) in sys.stdlib_module_names:
        return None, f"{target} cannot be its name"
    found: Any = sys.modules.get(module_name)
    for name in path.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    if found is not cls:
        return None, f"{target} does not lead to it"
    with current_directory_importable():
        packages = [module_name[: match.start()] for match in re.finditer(r"\.", module_name)]
        if not all(map(_is_importable, (*packages, module_name))):
            return None, f"no other process can import {module_name}"
    return target, ""


def _is_importable(name: str) -> bool:
    """Whether the import system finds, by its name alone, the file that a module was imported from."""
    module = sys.modules.get(name)
    known, found = getattr(module, "__spec__", None), _search(name)
    if known is None or found is None or known.name != name:
        return False
    if found.origin is None:  # a namespace package is its folders
        return known.origin is None and found.submodule_search_locations is not None
    if not found.has_location or not found.origin.endswith(tuple(all_suffixes())):
        return False  # of a notebook, or made up by a finder of this process
    return known.origin is not None and os.path.realpath(known.origin) == os.path.realpath(found.origin)


def _search(name: str) -> ModuleSpec | None:
    """Ask the finders for a module, past the modules that are imported already."""
    parent = name.rpartition(".")[0]
    path = getattr(sys.modules.get(parent), "__path__", None) if parent else None
    if parent and path is None:
        return None
    for finder in sys.meta_path:
        with suppress(Exception):  # a finder of somebody else's
            if (spec := finder.find_spec(name, path)) is not None:
                return spec
    return None


def _homes(value: Any) -> tuple[object, ...]:
    """Return the names of the modules that something is from."""
    if isinstance(value, ModuleType):
        return (getattr(value, "__name__", None),)
    if type(value) is FunctionType:  # what it says of itself, and where its code runs
        return value.__module__, value.__globals__.get("__name__")
    return (getattr(value, "__module__", None),)


def _part(target: str, holder: Any, name: str) -> Any:
    module_name, _, path = target.partition(":")
    try:
        with current_directory_importable():  # a package may import its parts when they are asked for
            return getattr(holder, name)
    except AttributeError:
        raise NoSuchClass(target, module_name, path, _nearest(name, holder)) from None
    except (Exception, SystemExit) as error:
        raise _failed(target, module_name, error) from error


def _import(target: str, name: str) -> Any:
    with current_directory_importable():
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                remedy = "run from the folder that holds it, or install it"
                raise ModuleNotImportable(target, name, f"there is no module '{error.name}'", remedy) from error
            remedy = "install what it imports"
            raise ModuleNotImportable(target, name, f"it imports '{error.name}', which is missing", remedy) from error
        except ImportError as error:
            if error.name != "registry":
                raise _failed(target, name, error) from error
            # The class comes from a project with a `registry.py`, and found this package instead.
            reason = f"{first_line(error)}: this package has the name of a module of the project"
            remedy = (
                "run again with PYTHONPATH=. before the command, so that the project's own comes first, and write "
                "`import checkpoint_registry` where the project means this package"
            )
            raise ModuleNotImportable(target, name, reason, remedy) from error
        except (Exception, SystemExit) as error:
            raise _failed(target, name, error) from error


def _failed(target: str, name: str, error: BaseException) -> ModuleNotImportable:
    reason = f"importing it raised {type(error).__name__}: {first_line(error)}"
    return ModuleNotImportable(target, name, reason, "make it importable without side effects")


@contextmanager
def current_directory_importable() -> Iterator[None]:
    """Let imports find what `python -m` would, after everything that is installed."""
    here = os.getcwd()  # noqa: PTH109  # sys.path holds texts
    if here in sys.path:
        yield
        return
    finder = sys.path_importer_cache.get(here)
    if finder is not None and hasattr(finder, "invalidate_caches"):
        finder.invalidate_caches()  # a module written since the last import would not be seen
    sys.path.append(here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _nearest(name: str, holder: Any) -> list[str]:
    return difflib.get_close_matches(name, [n for n in dir(holder) if not n.startswith("__")], n=3)
