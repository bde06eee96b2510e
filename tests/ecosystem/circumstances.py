"""What the tests of the libraries have in common: each imports ``no_network``, which is then around all of them."""

from __future__ import annotations

import os
import socket

import pytest
import vision_operators  # noqa: F401 - for the torchvision that timm imports

os.environ.setdefault("HF_HUB_DISABLE_UPDATE_CHECK", "1")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what is tested here may reach for it, whatever a configuration names."""

    def refuse(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX:
            raise AssertionError(f"it connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
