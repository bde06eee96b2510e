"""A live push records a class only by a name that leads another process back to that very class."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from registry import errors

pytestmark = pytest.mark.in_a_folder

NET = """from torch import nn
class Net(nn.Linear):
    def __init__(self): super().__init__(2, 2)
    class Inner(nn.Linear): pass
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "modules"
    (place / "nets_package").mkdir(parents=True)
    (place / "nets_package" / "__init__.py").write_text("")
    (place / "plain_nets.py").write_text(NET)
    (place / "nets_package" / "inner_nets.py").write_text(NET)
    monkeypatch.syspath_prepend(str(place))
    before = set(sys.modules)
    yield place
    for name in set(sys.modules) - before:
        if "nets" in name or "cell" in name:
            del sys.modules[name]


@pytest.mark.parametrize("name", ["plain_nets", "nets_package.inner_nets"])
def test_a_class_that_another_process_can_import_is_recorded(hub, modules, name):
    module = importlib.import_module(name)
    assert hub.push(module.Net(), "net").model_class == f"{name}:Net"
    assert hub.push(module.Net.Inner(2, 2), "inner").model_class == f"{name}:Net.Inner"
    assert type(hub.load("net")) is module.Net
    loads = "import registry; registry.load('net')"
    environment = {**os.environ, "PYTHONPATH": str(modules)}
    subprocess.run([sys.executable, "-c", loads], check=True, env=environment, cwd=modules.parent)


def test_a_class_of_a_library_is_recorded(hub):
    assert hub.push(nn.Linear(2, 2), "net").model_class == "torch.nn.modules.linear:Linear"


def _local(folder: Path) -> type:
    class Net(nn.Linear):
        pass

    return Net


def _of_a_cell(folder: Path) -> type:
    cell = types.ModuleType("cell_17")
    sys.modules["cell_17"] = cell
    exec(NET, cell.__dict__)
    return cell.Net


def _of_a_notebook(folder: Path) -> type:
    """As the finders do that import notebooks: they are there in this process alone."""
    file = folder / "notebook_nets.ipynb"
    file.write_text(NET)
    loader = importlib.machinery.SourceFileLoader("notebook_nets", str(file))
    spec = importlib.util.spec_from_file_location("notebook_nets", file, loader=loader)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["notebook_nets"] = module
    loader.exec_module(module)
    return module.Net


def _loaded_by_path(folder: Path) -> type:
    file = folder / "elsewhere" / "hidden_nets.py"
    file.parent.mkdir()
    file.write_text(NET)
    spec = importlib.util.spec_from_file_location("hidden_nets", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hidden_nets"] = module
    spec.loader.exec_module(module)
    return module.Net


def _shadowed(folder: Path) -> type:
    """Imported from a folder that the path no longer has, under a name that leads elsewhere now."""
    plain_nets = importlib.import_module("plain_nets")

    other = folder.parent / "other"
    other.mkdir()
    (other / "plain_nets.py").write_text(NET)
    sys.path.insert(0, str(other))
    importlib.invalidate_caches()
    return plain_nets.Net


def _reloaded(folder: Path) -> type:
    plain_nets = importlib.import_module("plain_nets")

    old = plain_nets.Net
    importlib.reload(plain_nets)
    return old


def _decorated(folder: Path) -> type:
    plain_nets: Any = importlib.import_module("plain_nets")

    plain, plain_nets.Net = plain_nets.Net, lambda: None
    return plain


def _named(module: str, path: str):
    def lying(folder: Path) -> type:
        class Net(nn.Linear):
            pass

        Net.__module__, Net.__qualname__ = module, path
        return Net

    return lying


LOST = {
    "defined in a function": _local,
    "of a cell": _of_a_cell,
    "of a notebook": _of_a_notebook,
    "loaded by its path": _loaded_by_path,
    "of a module that is shadowed": _shadowed,
    "of a module that was reloaded": _reloaded,
    "with something else in its place": _decorated,
    "that says os:system": _named("os", "system"),
    "that says subprocess:getoutput": _named("subprocess", "getoutput"),
    "that says builtins:exec": _named("builtins", "exec"),
    "that says antigravity:X": _named("antigravity", "X"),
    "that says train:Net": _named("train", "Net"),
    "that says it is another": _named("torch.nn.modules.linear", "Linear"),
    "that says it is a part": _named("plain_nets", "os.system"),
    "that says nothing sensible": _named("a b", "c:d"),
    "of the running script": _named("__main__", "Net"),
    "of a spawned script": _named("__mp_main__", "Net"),
}


@pytest.mark.parametrize("how", LOST)
def test_a_class_that_no_other_process_finds_is_not_recorded_and_the_push_says_so(
    hub, modules, how, tmp_path, monkeypatch
):
    (tmp_path / "train.py").write_text("open('trained', 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    cls = LOST[how](modules)
    model = cls() if "__init__" in vars(cls) else cls(2, 2)
    entry = hub.push(model, "net")
    assert entry.model_class is None
    [notice] = entry.notices
    assert "is not recorded" in notice and "model=" in notice and "\n" not in notice
    with pytest.raises(errors.ModelNeeded):
        hub.load("net")
    assert "antigravity" not in sys.modules and "train" not in sys.modules and not (tmp_path / "trained").exists()


def test_a_class_of_a_script_is_not_recorded(home, tmp_path):
    script = tmp_path / "training_script.py"
    script.write_text(
        f"import json, registry\n{NET}\nentry = registry.push(Net(), 'net')\n"
        "print(json.dumps([entry.model_class, entry.notices]))\n"
    )
    told = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    known, notices = json.loads(told.stdout)
    assert known is None and "running script" in notices[0]
