"""The names of the package mean one thing, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import registry

IMPORT_EVERYTHING = """
import importlib, pkgutil, types
import registry
from registry.modules.builders.table import BUILDERS

for found in pkgutil.walk_packages(registry.__path__, "registry."):
    if found.name.startswith(("registry.integrations", "registry.migrations", "registry.cli", "registry.server")):
        continue
    if found.name.rpartition(".")[2] in BUILDERS:  # which imports the library of that name
        continue
    importlib.import_module(found.name)
public = {name: getattr(registry, name) for name in registry.__all__ if name != "errors"}
wrong = [name for name, value in public.items() if isinstance(value, types.ModuleType) or not callable(value)]
assert not wrong, wrong
"""


def test_no_module_of_the_package_takes_the_place_of_a_verb() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_EVERYTHING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_type_checker_knows_every_verb() -> None:
    source = Path(registry.__file__).read_text()
    assert [verb for verb in registry.VERBS if f"    {verb} = _verbs.{verb}\n" not in source] == []


def test_a_verb_is_still_the_verb_after_it_was_used(tmp_path: Path) -> None:
    program = f"""
import os
os.environ["REGISTRY_HOME"] = {str(tmp_path)!r}
import registry
for attempt in range(2):
    try:
        registry.replay("nothing")
    except registry.errors.RegistryError:
        pass
    else:
        raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
