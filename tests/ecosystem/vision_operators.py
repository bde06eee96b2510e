"""Lets torchvision be imported beside a torch of another build; its package from the index is for CUDA.

It then finds no kernels, and its operators have to be declared before it describes them. No model of the tests uses
one. Imported at the start of every process that needs it, this costs nothing until torchvision is asked for.
"""

from __future__ import annotations

import re
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any


class Declaring:
    """A finder that finds nothing, and declares the operators when torchvision is looked for."""

    library: Any = None
    """torch forgets the operators of a library that nobody holds."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name == "torchvision" and self.library is None:
            found = PathFinder.find_spec(name)
            if found is not None and found.origin is not None:
                self._declare(Path(found.origin).parent)
        return None

    def _declare(self, package: Path) -> None:
        import torch

        is_for_cuda = "+cu" in (package / "version.py").read_text()
        if not is_for_cuda or torch.version.cuda is not None:
            return
        text = (package / "_meta_registrations.py").read_text()
        self.library = torch.library.Library("torchvision", "DEF")
        for name in {one or other for one, other in re.findall(r'register_meta\("(\w+)"\)|torchvision::(\w+)', text)}:
            self.library.define(f"{name}(Tensor a) -> Tensor")


if not any(isinstance(finder, Declaring) for finder in sys.meta_path):
    sys.meta_path.insert(0, Declaring())
