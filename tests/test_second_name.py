"""``checkpoint_registry`` is ``registry``, and is there still where a project's own ``registry.py`` hides it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = {
    "registry.py": "MODELS = {}\n",
    "mymodels.py": (
        "import torch\nfrom registry import MODELS\nimport checkpoint_registry\n\n\n@checkpoint_registry.remember\n"
        "class Net(torch.nn.Linear):\n    def __init__(self, width=2):\n        super().__init__(width, width)\n"
    ),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def call(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "REGISTRY_HOME")}
    environment = {**inherited, "REGISTRY_HOME": str(folder / "home"), **environment}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_both_names_are_one_package(tmp_path: Path) -> None:
    program = """
import checkpoint_registry, registry
import checkpoint_registry.catalog.entry, checkpoint_registry.errors as errors
from checkpoint_registry import Registry, push
assert checkpoint_registry is registry and errors is registry.errors and Registry is registry.Registry
assert registry.catalog.entry.__spec__.name == "registry.catalog.entry"
"""
    done = call("-c", program, folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["registry", "checkpoint_registry"])
def test_either_name_is_the_command_line(name: str, tmp_path: Path) -> None:
    done = call("-m", name, "--version", folder=tmp_path)
    assert done.stdout.startswith("registry ") and done.returncode == 0, done.stderr


def test_a_project_keeps_its_registry_and_has_this_one_by_the_other_name(project: Path) -> None:
    program = """
import mymodels, registry, torch
import checkpoint_registry
assert registry.MODELS == {}
net = mymodels.Net(width=3)
entry = checkpoint_registry.push(net, "net", optimizer=torch.optim.Adam(net.parameters()))
loaded = checkpoint_registry.load("net")
assert checkpoint_registry.check(loaded, "net").is_equal and type(loaded) is mymodels.Net
try:
    checkpoint_registry.load("none")
except checkpoint_registry.errors.RegistryError as error:
    import pickle
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
import sys
assert not [name for name in sys.modules if name.startswith("registry.")]
"""
    done = call("-c", program, folder=project)
    assert done.returncode == 0, done.stderr


def test_what_a_project_hides_is_said_with_what_to_type(project: Path) -> None:
    """The command line finds the project's class, to which ``registry`` is this package; the advice is followed."""
    (project / "weights.py").write_text("import mymodels, torch\ntorch.save(mymodels.Net().state_dict(), 'net.pth')\n")
    assert call("weights.py", folder=project).returncode == 0
    (project / "elsewhere").mkdir()
    program = project / "elsewhere" / "program.py"
    program.write_text("from checkpoint_registry.cli import main; main()")
    words = (str(program), "push", "net.pth", "--model", "mymodels:Net")
    refused = call(*words, folder=project)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "PYTHONPATH=." in refused.stderr and "import checkpoint_registry" in refused.stderr
    stored = call(*words, folder=project, PYTHONPATH=".")
    assert stored.returncode == 0, stored.stderr
    assert "stored net:v1" in stored.stdout
