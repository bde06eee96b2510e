"""What every test may use: a registry of its own, and the samples where they are at hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import registry

ARCHITECTURES = str(Path(__file__).parent / "architectures")
"""So that tests, and the processes that they spawn, can name classes as a user would: ``nets:PointNet``."""
sys.path.insert(0, ARCHITECTURES)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home, which spawned processes see too."""
    place = tmp_path / "home"
    monkeypatch.setenv("REGISTRY_HOME", str(place))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([ARCHITECTURES, os.environ.get("PYTHONPATH", "")]))
    return place


@pytest.fixture
def hub(home: Path) -> registry.Registry:
    """A registry in a fresh home."""
    return registry.Registry(home)


def samples(name: str) -> Path:
    """Return a folder of samples that lies beside the checkout, or skip the test."""
    root = Path(os.environ.get("REGISTRY_SAMPLES", Path(__file__).parents[1].parent / "shared"))
    if not (root / name).is_dir():
        pytest.skip(f"the samples of {name} are not at hand")
    return root / name


@pytest.fixture
def real() -> Path:
    """The folder of published checkpoints."""
    return samples("real")
