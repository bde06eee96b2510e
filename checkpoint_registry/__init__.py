"""``import checkpoint_registry`` is ``import registry``: one package under two names.

A project's own ``registry.py`` hides the package of that name. There ``checkpoint_registry`` is the package still: its
modules are then loaded under this name, and what they import as ``registry`` is found among themselves. The project's
``import registry`` goes on to mean its own module.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry import *  # noqa: F403

NAME, FORMER = __name__, "registry"
ROOT = Path(__file__).absolute().parents[1]


def _is_found() -> bool:
    """Whether ``import registry`` gives the package that lies beside this one."""
    found = sys.modules.get(FORMER)
    if found is not None:
        file = getattr(found, "__file__", None)
    else:
        try:
            spec = importlib.util.find_spec(FORMER)
        except (ImportError, ValueError):
            return False
        file = spec.origin if spec is not None else None
    return file is not None and Path(file).resolve() == (ROOT / FORMER / "__init__.py").resolve()


def _spec_of_main() -> ModuleSpec | None:
    return importlib.util.spec_from_file_location(f"{NAME}.__main__", ROOT / NAME / "__main__.py")


class _SecondName(MetaPathFinder, Loader):
    """Gives a module of ``registry`` under the other name, too."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == f"{NAME}.__main__":
            return _spec_of_main()
        return importlib.util.spec_from_loader(name, self) if name.startswith(f"{NAME}.") else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(FORMER + spec.name.removeprefix(NAME))
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = self._specs.pop(module.__spec__.name)  # which the import has just replaced


def _import_of_ours(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    if not level and (name == FORMER or name.startswith(f"{FORMER}.")):
        name = NAME + name.removeprefix(FORMER)
    return builtins.__import__(name, globals, locals, fromlist or (), level)


_BUILTINS: dict[str, Any] = {**vars(builtins), "__import__": _import_of_ours}
"""What every module of ours has in the place of Python's own where another module is called ``registry``."""


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = _BUILTINS
        super().exec_module(module)


class _OnlyName(MetaPathFinder):
    """Finds the modules of ``registry`` under this name alone."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(f"{NAME}."):
            return None
        if name == f"{NAME}.__main__":
            return _spec_of_main()
        parts = name.split(".")[1:]
        # In a checkout `cli`, `migrations` and `server` stand beside the package.
        for base in (ROOT / FORMER, ROOT):
            place = base.joinpath(*parts)
            for file, folders in ((place / "__init__.py", [str(place)]), (place.with_suffix(".py"), None)):
                if file.is_file():
                    return importlib.util.spec_from_file_location(
                        name, file, loader=_Loader(name, str(file)), submodule_search_locations=folders
                    )
        return None


if _is_found():
    sys.meta_path.insert(0, _SecondName())
    sys.modules[NAME] = importlib.import_module(FORMER)
else:
    sys.meta_path.insert(0, _OnlyName())
    _file = ROOT / FORMER / "__init__.py"
    __path__ = [str(_file.parent)]
    globals()["__builtins__"] = _BUILTINS
    exec(compile(_file.read_text(encoding="utf-8"), str(_file), "exec"), globals())
