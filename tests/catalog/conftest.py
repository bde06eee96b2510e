"""The catalog's promises hold on both databases: what takes ``place``, ``catalog`` or ``folder`` runs on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import KINDS, Place, configure, fresh

from registry.catalog.catalog import Catalog


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where nothing is yet."""
    with fresh(request, tmp_path / "home with % and ? in it") as place:
        yield place


@pytest.fixture
def catalog(place: Place) -> Iterator[Catalog]:
    """An empty one."""
    catalog = Catalog(place, actor="me")
    yield catalog
    catalog.close()


@pytest.fixture
def folder(place: Place, tmp_path: Path) -> Path:
    """A home whose catalog is there."""
    return place if isinstance(place, Path) else configure(tmp_path / "configured", place)
