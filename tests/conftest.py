"""What every test may use: a registry of its own, and the samples where they are at hand."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from databases import KINDS, Place, Server, configure, fresh, running_server
from grounds import KINDS as GROUNDS, Elsewhere, Ground, chosen
from hypothesis import HealthCheck, settings
from ranks import Ranks

import registry
from registry.catalog.catalog import Catalog

if TYPE_CHECKING:
    from bucket_server import Buckets
    from served import Served

# A runner may ignore SIGINT, and what is started by what ignores it does, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test is about time: a busy machine is no fault.
# The same examples every time, so that a change is judged by what it changes; `make search` tries others.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("search", settings.get_profile("any machine"), derandomize=False, max_examples=1000)
settings.load_profile("any machine")

ARCHITECTURES = str(Path(__file__).parent / "architectures")
"""So that tests, and the processes that they spawn, can name classes as a user would: ``nets:PointNet``."""
sys.path.insert(0, ARCHITECTURES)

SERVERS = str(Path(__file__).parent / "server")
"""Where the helper is that starts a server."""

OF_FOLDERS = {"home", "store", "_home", "audit", "gc", "prune", "doctor"}
"""Attributes of a registry whose home is a folder: a test that asks for one is about its files."""

ALONE = "REGISTRY_TEST_ALONE"
"""Set in a process that runs one test."""

OUR_MODULES = sorted({path.stem for path in Path(__file__).parent.rglob("*.py") if path.stem.isidentifier()})
"""What a test may have a version's class built from that comes from a server."""


ALLOWED_SKIPS = (
    "needs a GPU",
    "runs fully_shard on GPUs alone",
    "becomes another user, which only root may",
    "root may read everything",
    "mounting is not allowed here",
    "there is no C compiler",
    "there is no nginx",
    "there is no zip",
    "there is no pgbouncer",
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


def pytest_configure(config: pytest.Config) -> None:
    """Hide the GPUs of this machine from all tests but those that are about them: a rank would take one by itself."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is said of the verbs, and looks at no file of the home, at a server and over a bucket, too.

    What takes ``ground`` has a registry of its own on each.
    """
    code = metafunc.function.__code__
    if "hub" in metafunc.fixturenames and "ground" not in metafunc.fixturenames:
        asks_for_files = "home" in code.co_varnames or not OF_FOLDERS.isdisjoint(code.co_names)
        marks = {mark.name for mark in metafunc.definition.iter_markers()}
        if not asks_for_files and marks.isdisjoint(("in_a_folder", "ecosystem", "gpu")):
            served = pytest.param("served", marks=pytest.mark.services)
            bucket = pytest.param("bucket", marks=pytest.mark.services)
            # A child of a process that has used a bucket can use none.
            kinds = ["folder", served] if "fork" in code.co_names else ["folder", served, bucket]
            metafunc.parametrize("hub", kinds, indirect=True)


@pytest.fixture(scope="session")
def elsewhere(postgres: Server, buckets: Buckets) -> Elsewhere:
    """Where homes are whose parts are on servers."""
    return Elsewhere(postgres, buckets)


@pytest.fixture(params=GROUNDS)
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """What a home stands on: what takes it runs in a folder, and on a database and a bucket."""
    with chosen(request) as ground:
        yield ground


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that forks users of a bucket in a process of its own: in this one others may have used a bucket."""
    ground = pyfuncitem.funcargs.get("ground")
    if not (isinstance(ground, Elsewhere) and pyfuncitem.get_closest_marker("forks")) or os.environ.get(ALONE):
        return None
    command = [sys.executable, "-m", "pytest", "-n", "0", "-m", "services", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, pyfuncitem.nodeid],
        cwd=pyfuncitem.config.rootpath,
        env={**os.environ, ALONE: "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return True


@pytest.fixture
def hub(home: Path, request: pytest.FixtureRequest) -> registry.Registry:
    """A registry in a fresh home; at a server or over a bucket, where the test is run there."""
    kind = getattr(request, "param", "folder")
    if kind == "bucket":
        # Not in the folder of the test, which it may push as a whole.
        home = request.getfixturevalue("tmp_path_factory").mktemp("over-a-bucket")
        request.getfixturevalue("monkeypatch").setenv("REGISTRY_HOME", str(home))
        (home / "registry.toml").write_text(f'blobs = "{request.getfixturevalue("bucket")}"\n')
    if kind != "served":
        return registry.Registry(home)
    served: Callable[[], str] = request.getfixturevalue("served_home")
    return registry.Registry(served())


@pytest.fixture(scope="session")
def server_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server, and the home that it serves, which is another one as soon as its files are gone."""
    sys.path.insert(0, SERVERS)
    from served import serving

    place = tmp_path_factory.mktemp("served") / "home"
    with serving(place) as running:
        yield running.url, place


@pytest.fixture
def served_home(server_process: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Return what empties the server's home and returns its address; this process may do everything there."""

    def fresh() -> str:
        url, place = server_process
        for child in place.iterdir():
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        owner = registry.Registry(place)
        monkeypatch.setenv("REGISTRY_TOKEN", owner.add_token("tester", role="admin").text)
        owner.close()
        monkeypatch.setenv("REGISTRY_HOME", url)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("REGISTRY_TRUST", ",".join([*OUR_MODULES, "torch"]))
        return url

    return fresh


@pytest.fixture(scope="session")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buckets]:
    """A server of buckets, for the tests marked ``services``."""
    from bucket_server import buckets_in, buckets_of_environment

    if os.environ.get(ALONE):
        yield buckets_of_environment()
        return
    with buckets_in(tmp_path_factory.mktemp("buckets")) as server:
        yield server


@pytest.fixture
def bucket(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a place in a bucket that is this test's alone, which spawned processes may use, too."""
    for name, value in buckets.environment.items():
        monkeypatch.setenv(name, value)
    return buckets.fresh()


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


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this user's caches, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("REGISTRY_TRUST", "nets,torch")
    return tmp_path / "cache" / "checkpoint-registry"


@pytest.fixture
def served(home: Path, cache: Path) -> Iterator[Served]:
    """A server of a fresh home."""
    sys.path.insert(0, SERVERS)
    from served import serving

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
