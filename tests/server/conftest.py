"""A server of a test's own, or of a module's, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import Served, serving

import registry


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this user's caches, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("REGISTRY_TRUST", "nets,torch")
    return tmp_path / "cache" / "checkpoint-registry"


@pytest.fixture
def served(home: Path, cache: Path) -> Iterator[Served]:
    """A server of a fresh home."""
    with serving(home, "--access-log") as running:
        yield running
        assert "Traceback" not in running.log, running.log


@pytest.fixture
def client(served: Served, home: Path, monkeypatch: pytest.MonkeyPatch) -> registry.Registry:
    """The served registry, for somebody who may do everything."""
    monkeypatch.setenv("REGISTRY_TOKEN", token(home, "admin"))
    return registry.Registry(served.url)


def token(home: Path, role: str, *models: str, user: str = "ann") -> str:
    """Give out a token of a home."""
    owner = registry.Registry(home)
    try:
        return owner.add_token(user, role=role, models=models or ("*",)).text
    finally:
        owner.close()


@pytest.fixture
def token_of(home: Path) -> Callable[..., str]:
    """What gives out tokens."""
    return lambda role, *models, user="ann": token(home, role, *models, user=user)
