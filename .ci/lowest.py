"""Prints the lowest version of each dependency that ``pyproject.toml`` admits, as requirements for pip.

torch is not among them: its oldest builds for this platform bring CUDA along.
"""

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())

for dependency in PROJECT["project"]["dependencies"]:
    name, bound = re.fullmatch(r"([\w-]+)>=([\w.]+)", dependency).groups()
    if name != "torch":
        print(f"{name}=={bound}")
