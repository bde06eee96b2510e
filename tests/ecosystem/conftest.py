"""What the libraries need here before they can be imported."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import sys
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_DISABLE_UPDATE_CHECK", "1")
_LIBRARIES: list[object] = []
"""torch forgets the operators of a library that nobody holds."""


def declare_vision_operators() -> None:
    """Let torchvision be imported beside a torch of another build, whose kernels it then does not find.

    On a machine without a GPU its package from the index is for CUDA; no model of the tests uses its operators.
    """
    found = importlib.util.find_spec("torchvision")
    if found is None or "torchvision" in sys.modules or found.origin is None:
        return
    try:
        import torchvision  # noqa: F401
    except (RuntimeError, OSError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torch

        text = Path(found.origin).with_name("_meta_registrations.py").read_text()
        declared = torch.library.Library("torchvision", "DEF")
        for name in {one or other for one, other in re.findall(r'register_meta\("(\w+)"\)|torchvision::(\w+)', text)}:
            declared.define(f"{name}(Tensor a) -> Tensor")
        _LIBRARIES.append(declared)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what is tested here may reach for it, whatever a configuration names."""

    def refuse(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX:
            raise AssertionError(f"it connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True, scope="session")
def libraries() -> None:
    declare_vision_operators()
