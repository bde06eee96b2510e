"""What every test may use: a registry of its own, and the samples where they are at hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from databases import KINDS, Place, Server, configure, fresh, running_server
from ranks import Ranks

import registry
from registry.catalog.catalog import Catalog

ARCHITECTURES = str(Path(__file__).parent / "architectures")
"""So that tests, and the processes that they spawn, can name classes as a user would: ``nets:PointNet``."""
sys.path.insert(0, ARCHITECTURES)


ALLOWED_SKIPS = (
    "needs a GPU",
    "runs fully_shard on GPUs alone",
    "becomes another user, which only root may",
    "root may read everything",
    "mounting is not allowed here",
    "there is no C compiler",
    "there is no nginx",
    "no samples in",
    "samples of",
    "not a git checkout",
    "a CRC of zero stands for one that was not written",
)
"""What a machine may lack. A test that is skipped for another reason fails: nothing is left out silently."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr)
        if not any(allowed in reason for allowed in ALLOWED_SKIPS):
            report.outcome, report.longrepr = "failed", f"skipped for a reason that is not allowed: {reason}"
    return report


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home, which spawned processes see too."""
    place = tmp_path / "home"
    monkeypatch.setenv("REGISTRY_HOME", str(place))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([ARCHITECTURES, os.environ.get("PYTHONPATH", "")]))
    return place


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """Processes for the jobs of every test."""
    processes = Ranks()
    yield processes
    processes.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server."""
    yield from running_server()


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where no catalog is yet; what takes it, ``catalog`` or ``folder`` runs on both databases."""
    with fresh(request, tmp_path / "home with % and ? in it") as place:
        yield place


@pytest.fixture
def catalog(place: Place) -> Iterator[Catalog]:
    """An empty catalog."""
    catalog = Catalog(place, actor="me")
    yield catalog
    catalog.close()


@pytest.fixture
def folder(place: Place, tmp_path: Path) -> Path:
    """A home whose catalog is there."""
    return place if isinstance(place, Path) else configure(tmp_path / "configured", place)


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
def published() -> Callable[[str], Path]:
    """The path of a checkpoint as the world has them: a small one of ours, or a large one, where those are at hand."""

    def find(name: str) -> Path:
        small = Path(__file__).parent / "published" / name
        return small if small.exists() else samples("real") / name

    return find
