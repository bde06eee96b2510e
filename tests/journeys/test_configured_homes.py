"""A home whose parts are elsewhere: what ``registry.toml`` may say, and that every mistake in it is one sentence.

The commands are those of docs/many-machines.md.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nets
import pytest
import torch
from databases import Server, configure
from hypothesis import HealthCheck, given, settings, strategies as st
from invocation import run

from registry import Registry
from registry.catalog.address import DatabaseAddress
from registry.errors import (
    DatabaseUnreachable,
    HomeConfigured,
    InvalidConfiguration,
    InvalidDatabaseAddress,
    RegistryError,
    UntrustedClass,
)
from registry.home import configuration
from registry.home.configuration import Configuration

SECRET = "Zq7secret"
NOWHERE = f"postgresql://ann:{SECRET}@127.0.0.1:1/models?connect_timeout=2"


@pytest.fixture
def address(postgres: Server) -> Iterator[DatabaseAddress]:
    address = postgres.schema()
    yield address
    postgres.drop(address)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("catalog = 'env:X'\nblob = 's3://b/p'", "unknown key 'blob'; did you mean blobs?"),
        ("color = 'red'", "unknown key 'color'; it has catalog, blobs, cache"),
        ("catalog = 3", "catalog is not a text"),
        ("catalog = ''", "catalog is not a text"),
        ("[catalog]\nurl = 'x'", "catalog is not a text"),
        (f"catalog = 'mysql://ann:{SECRET}@h/db'", "catalog is not an address"),
        ("catalog = 'registry.db'", "catalog is not an address"),
        ("blobs = '/somewhere'", "blobs is not a URL"),
        (f"blobs = 's3://key:{SECRET}@bucket'", "blobs is not a URL"),
        ("cache = '/fast'", "cache is for blobs in a bucket"),
        ("moved_to = 'elsewhere'", "not an absolute path"),
        ("moved_to = '/a'\ncatalog = 'env:X'", "nothing else can stand beside it"),
        (f"catalog = 'postgresql://ann:{SECRET}@h/db", "it is not TOML"),
        ("catalog = 'a'\ncatalog = 'b'", "it is not TOML"),
        (b"catalog = '\xff'", "it is not UTF-8"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_that_names_it(tmp_path: Path, text: str | bytes, why: str) -> None:
    (tmp_path / "registry.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    told = run("list", home=tmp_path, expect=1).stderr
    assert why in told and "registry.toml" in told and SECRET not in told and told.count("\n") == 1
    with pytest.raises(InvalidConfiguration):
        Registry(tmp_path).list()


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "registry.toml").mkdir()
    with pytest.raises(InvalidConfiguration, match="cannot be read"):
        Registry(tmp_path).list()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cache=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_what_is_written_is_read_again(tmp_path: Path, cache: str) -> None:
    wanted = Configuration("env:MY_CATALOG", "s3://bucket/some/prefix", cache)
    configuration.write(tmp_path, wanted)
    assert configuration.read(tmp_path) == wanted


@pytest.mark.services
def test_an_address_that_cannot_be_reached_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_CATALOG", NOWHERE)
    home = tmp_path / "home"
    for catalog in (NOWHERE, "env:MY_CATALOG"):
        said = run("init", "--catalog", catalog, home=home, expect=1)
        assert "cannot be opened" in said.stderr and said.stderr.count("\n") == 1
        assert SECRET not in said.stderr + said.stdout
    with pytest.raises(DatabaseUnreachable):
        Registry(home).init(catalog=NOWHERE)
    with pytest.raises(InvalidDatabaseAddress):
        Registry(home).init(catalog="env:NOT_SET_ANYWHERE")
    with pytest.raises(InvalidConfiguration):
        Registry(home).init(catalog="sqlite:///x")
    with pytest.raises(InvalidConfiguration):
        Registry(home).init(cache="/fast")
    assert not home.exists()


def test_without_the_extra_the_sentence_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from registry.cli import main; sys.argv = ['registry', 'init', '--catalog', 'postgresql://h/d']; main()"
    )
    environment = {**os.environ, "REGISTRY_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'checkpoint-registry[postgres]'" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "home").exists()


def test_without_options_the_registry_is_in_its_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run("init", home=home)
    assert (home / "registry.db").exists() and not (home / "registry.toml").exists()
    assert run("models", home=home).stderr == ""


def test_a_home_that_has_a_registry_is_not_made_another_one(tmp_path: Path) -> None:
    Registry(tmp_path / "home").push({"w": torch.ones(2)}, "net", from_="single")
    with pytest.raises(HomeConfigured, match="registry move --to"):
        Registry(tmp_path / "home").init(catalog=NOWHERE)
    assert Registry(tmp_path / "home").list()[0].ref == "net:v1"


@pytest.mark.services
def test_the_file_and_its_folder_name_the_same_home(
    tmp_path: Path, address: DatabaseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_CATALOG", address.url)
    home = tmp_path / "home"
    said = run("init", "--catalog", "env:MY_CATALOG", home=home).stdout
    assert "postgresql://postgres@/postgres" in said and (home / "registry.toml").read_text() == (
        'catalog = "env:MY_CATALOG"\n'
    )
    assert run("init", "--catalog", "env:MY_CATALOG", home=home).stdout == said, "once more it is the same"
    with pytest.raises(HomeConfigured):
        Registry(home).init(catalog=address.url)
    Registry(home / "registry.toml").push({"w": torch.ones(2)}, "net", from_="single")
    for place in (home, home / "registry.toml"):
        assert json.loads(run("list", "--json", home=place).stdout)[0]["ref"] == "net:v1"
    assert not (home / "registry.db").exists() and list((home / "blobs").rglob("*.safetensors"))
    assert "postgresql://postgres@/postgres" in run("db", "current", home=home).stdout
    told = {each["what"]: each["value"] for each in json.loads(run("doctor", "--json", home=home).stdout)}
    assert told["database"] == "postgresql://postgres@/postgres" and told["versions"] == "1" and "postgresql" in told


@pytest.mark.services
def test_a_password_in_the_file_is_for_its_owner_and_shown_by_no_command(
    tmp_path: Path, address: DatabaseAddress
) -> None:
    home = tmp_path / "home"
    secret = address.url.replace("postgres:@", f"postgres:{SECRET}@")
    said = [run("init", "--catalog", secret, home=home)]
    assert "only you can read it" in said[0].stdout
    assert stat.S_IMODE((home / "registry.toml").stat().st_mode) == 0o600
    Registry(home).push({"w": torch.ones(2)}, "net", from_="single")
    for command in (["list"], ["show", "net"], ["doctor"], ["doctor", "--json"], ["audit"], ["log"], ["db", "current"]):
        said.append(run(*command, home=home))
    assert all(SECRET not in each.stdout + each.stderr for each in said)
    assert SECRET not in repr(Registry(home)) + repr(Registry(home)._home.configuration)


@pytest.mark.services
def test_a_class_that_a_database_on_a_server_names_is_imported_only_where_it_is_trusted(
    tmp_path: Path, address: DatabaseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Registry(configure(tmp_path / "home", address))
    net = next(each for each in vars(nets).values() if isinstance(each, type) and each.__module__ == "nets")
    try:
        hub.push(net(), "net")
    except (TypeError, RegistryError):
        pytest.skip("samples of classes without arguments")
    with pytest.raises(UntrustedClass, match="it stands in postgresql://"):
        hub.load("net")
    monkeypatch.setenv("REGISTRY_TRUST", "nets")
    assert isinstance(hub.load("net"), net)


@pytest.mark.services
def test_a_home_on_a_server_is_asked_for_what_is_completed(tmp_path: Path, address: DatabaseAddress) -> None:
    home = configure(tmp_path / "home", address)
    Registry(home).push({"w": torch.ones(2)}, "pointnet", from_="single")
    environment = {
        **os.environ,
        "REGISTRY_HOME": str(home),
        "_REGISTRY_COMPLETE": "complete_bash",
        "COMP_WORDS": "registry\nshow\npoin",
        "COMP_CWORD": "2",
    }
    code = "import sys; sys.argv = ['registry']; from registry.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "pointnet" in done.stdout, done.stderr
