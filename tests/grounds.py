"""What a home stands on: its own folder, or a database on PostgreSQL and a bucket.

What is done here to the servers goes past the program, and past the library that it uses for buckets: a process that
has used that one may fork no other that does, and the tests of kills and of races fork.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import traceback
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from bucket_server import BUCKET, FILER_VARIABLE, Buckets, buckets_of_environment
from databases import SERVER_VARIABLE, Server

from registry import Registry
from registry.catalog.address import DatabaseAddress
from registry.catalog.catalog import Catalog
from registry.home import configuration
from registry.home.configuration import FILE, Configuration

KINDS = ("folder", pytest.param("elsewhere", marks=pytest.mark.services))
"""What the tests of a home are parametrized with."""


class Ground(Protocol):
    """Makes homes of one kind."""

    is_elsewhere: bool

    def home(self, folder: Path, *, is_migrated: bool = True) -> Path:
        """Return a home in which nothing is yet; one with ``is_migrated`` may have its tables already."""

    def copy(self, template: Path, place: Path) -> Path:
        """Copy a home that nobody has open to another place, in the stead of what is there."""

    def open(self, home: Path) -> Registry:
        """Open a home whose garbage is old enough to be collected at once."""

    def blobs(self, home: Path) -> contextlib.AbstractContextManager[Path]:
        """Give the folder of all blobs, for the time of the block that damages them; nothing of them is cached then."""

    def later(self, home: Path) -> None:
        """Let so much time go by that what was killed has lost its leases."""

    def apart(self, act: Callable[[], object]) -> None:
        """Do something in another process, where this one is about to fork those that use the home."""


class Folder:
    """A home is a folder."""

    is_elsewhere = False

    def home(self, folder: Path, *, is_migrated: bool = True) -> Path:
        return folder

    def copy(self, template: Path, place: Path) -> Path:
        shutil.rmtree(place, ignore_errors=True)
        if template.exists():
            shutil.copytree(template, place, symlinks=True)
        return place

    def open(self, home: Path) -> Registry:
        return Registry(home)

    @contextlib.contextmanager
    def blobs(self, home: Path) -> Iterator[Path]:
        yield home / "blobs"

    def later(self, home: Path) -> None:
        pass

    def apart(self, act: Callable[[], object]) -> None:
        act()


class Elsewhere:
    """A home is a database of its own, a prefix of its own in a bucket, and a cache in its folder.

    Args:
        server: on which databases may be made; its address must be a URL.
        buckets: of which one is used.
    """

    is_elsewhere = True
    _reachable: Elsewhere | None = None

    def __init__(self, server: Server, buckets: Buckets) -> None:
        self._server = server
        self._files = Files(buckets.filer)
        self._environment = {
            SERVER_VARIABLE: server.url,
            FILER_VARIABLE: buckets.filer,
            **buckets.environment,
        }
        self._migrated: str | None = None
        self._made: list[str] = []

    @classmethod
    def of_environment(cls) -> Elsewhere:
        """Return the one whose servers the environment names."""
        return cls._reachable or cls(Server(os.environ[SERVER_VARIABLE]), buckets_of_environment())

    @contextlib.contextmanager
    def reachable(self) -> Iterator[Elsewhere]:
        """Have this process, and those that it begins, reach the servers; take away at the end what was made."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._environment.items():
                patch.setenv(name, value)
            patch.setattr(Elsewhere, "_reachable", self)
            before = len(self._made)
            yield self
            for name in self._made[before:]:
                if name != self._migrated:
                    self._drop(name)

    def home(self, folder: Path, *, is_migrated: bool = True) -> Path:
        if is_migrated and self._migrated is None:
            self._migrated = self._create("template1")
            Catalog(self._address(self._migrated)).close()
        name = self._create(self._migrated if is_migrated and self._migrated else "template1")
        folder.mkdir(parents=True, exist_ok=True)
        return self._configured(folder, name)

    def copy(self, template: Path, place: Path) -> Path:
        if (place / FILE).exists():
            self._drop(name_of(place))
        shutil.rmtree(place, ignore_errors=True)
        if not template.exists():
            return self.home(place, is_migrated=False)
        name = self._create(name_of(template))
        for path, content in self._files.read(name_of(template)).items():
            self._files.write(f"{name}/{path}", content)
        shutil.copytree(template, place)
        return self._configured(place, name)

    def open(self, home: Path) -> Registry:
        hub = Registry(home)
        hub._home.make()
        hub.store._young_seconds = 0.0  # type: ignore[attr-defined]
        return hub

    @contextlib.contextmanager
    def blobs(self, home: Path) -> Iterator[Path]:
        before = self._files.read(name_of(home))
        folder = home.with_name(f"{home.name}-objects")
        shutil.rmtree(folder, ignore_errors=True)
        for path, content in before.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        yield folder / "blobs"
        after = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for path in before.keys() - after.keys():
            self._files.delete(f"{name_of(home)}/{path}")
        for path, content in after.items():
            if before.get(path) != content:
                self._files.write(f"{name_of(home)}/{path}", content)
        shutil.rmtree(home / "cache" / "blobs", ignore_errors=True)

    def later(self, home: Path) -> None:
        import psycopg

        with psycopg.connect(self._address(name_of(home)).url, autocommit=True) as connection:
            if connection.execute("SELECT to_regclass('leases')").fetchone() != (None,):
                connection.execute("DELETE FROM leases")

    def apart(self, act: Callable[[], object]) -> None:
        child = os.fork()
        if child == 0:
            try:
                act()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0

    def objects(self, home: Path) -> dict[str, bytes]:
        """Return all that is in the bucket of a home."""
        return self._files.read(name_of(home))

    def _create(self, template: str) -> str:
        name = f"t{uuid.uuid4().hex[:12]}"
        with self._server.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (template,))
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        self._made.append(name)
        return name

    def _drop(self, name: str) -> None:
        with self._server.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._files.delete(name)

    def _address(self, name: str) -> DatabaseAddress:
        return DatabaseAddress.parse(urllib.parse.urlsplit(self._server.url)._replace(path=f"/{name}").geturl())

    def _configured(self, folder: Path, name: str) -> Path:
        wanted = Configuration(catalog=self._address(name).url, blobs=f"s3://{BUCKET}/{name}")
        configuration.write(folder, wanted)
        return folder


class Files:
    """The bucket as the files that its server keeps it in."""

    def __init__(self, filer: str) -> None:
        self._url = f"{filer}/buckets/{BUCKET}"

    def read(self, folder: str) -> dict[str, bytes]:
        """Return what is below a folder, by its path from there."""
        found = {}
        for name, is_folder in self._listed(folder):
            if is_folder:
                below = self.read(f"{folder}/{name}")
                found.update({f"{name}/{path}": content for path, content in below.items()})
            else:
                found[name] = self._ask("GET", f"{folder}/{name}")
        return found

    def write(self, path: str, content: bytes) -> None:
        self._ask("PUT", path, content)

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._ask("DELETE", f"{path}?recursive=true")

    def _listed(self, folder: str) -> list[tuple[str, bool]]:
        try:
            told = json.loads(self._ask("GET", f"{folder}/?limit=100000"))
        except FileNotFoundError:
            return []
        return [(Path(each["FullPath"]).name, bool(each["Mode"] >> 31)) for each in told["Entries"] or ()]

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        headers = {"Accept": "application/json", "Content-Type": "application/octet-stream"}
        request = urllib.request.Request(f"{self._url}/{path}", content, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise FileNotFoundError(path) from None
            raise


@contextlib.contextmanager
def chosen(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Give the ground that is the parameter of a test or of a fixture."""
    if request.param == "folder":
        yield Folder()
        return
    elsewhere: Elsewhere = request.getfixturevalue("elsewhere")
    with elsewhere.reachable():
        yield elsewhere


def ground_of(home: Path) -> Ground:
    """Return what an existing home stands on."""
    return Elsewhere.of_environment() if configuration.read(home).blobs is not None else Folder()


def name_of(home: Path) -> str:
    """Return what the database of a home and its prefix in the bucket are called."""
    return str(configuration.read(home).blobs).rpartition("/")[2]
