"""A database or a bucket that is not there, or not for this user: one sentence, no password, and nothing is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bucket_server import Buckets
from databases import Server
from invocation import run

from registry import Registry
from registry.errors import HomeUnusable, NotARegistry, ObjectsForbidden, RegistryError

pytestmark = pytest.mark.services

SECRET = "Zq7secret"


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials are in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)


def refused(home: Path, *options: str) -> str:
    """Return the one sentence of an init that makes nothing."""
    said = run("init", *options, home=home, expect=1)
    (line,) = said.stderr.splitlines()
    assert SECRET not in said.stdout + said.stderr
    assert not home.exists()
    return line


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3://ab", "at least 3 characters, and 'ab' has 2"),
        ("gs://b/p", "at least 3 characters"),
        ("az://c/p", "at least 3 characters"),
        ("s3://Bad_Bucket/p", "not a valid name of a bucket"),
        ("s3://bucket/../other", "not a path"),
        ("gcs://bucket/p", "s3://, gs://, az://"),
        ("/somewhere", "not a URL such as s3://BUCKET/PREFIX"),
        ("gs://bucket/p", "set GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://container/p", "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_a_bucket_that_cannot_be_one_or_has_no_credentials_is_one_sentence(tmp_path: Path, url: str, why: str) -> None:
    assert why in refused(tmp_path / "home", "--blobs", url)


@pytest.mark.parametrize("content", [None, "{", '{"type": "service_account"}'])
def test_credentials_for_google_that_cannot_be_read_are_named(
    tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "account.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    said = refused(tmp_path / "home", "--blobs", "gs://bucket/p")
    assert "refuses these credentials" in said and "GOOGLE_APPLICATION_CREDENTIALS" in said


def test_a_bucket_that_did_not_answer_may_be_given_again(
    tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, url = tmp_path / "home", buckets.fresh()
    for name, value in buckets.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "cannot reach the objects in s3://" in refused(home, "--blobs", url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", buckets.endpoint)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(ObjectsForbidden):
        Registry(home).init(blobs=url)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", buckets.environment["AWS_SECRET_ACCESS_KEY"])
    run("init", "--blobs", url, home=home)
    run("init", "--blobs", url, home=home)
    assert run("doctor", home=home).stderr == ""


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"postgresql://ann:{SECRET}@127.0.0.1:1/models", "postgresql://ann:***@127.0.0.1:1/models cannot be opened"),
        (f"postgresql://ann@127.0.0.1:1/models?password={SECRET}", "postgresql://ann@127.0.0.1:1/models"),
        (f"postgresql://ann:{SECRET}@db.invalid/models", "'db.invalid'"),
        (f"postgresql://ann:{SECRET}@h/d?nonsense=1", '"nonsense"'),
        (f"postgresql://ann:{SECRET}@h:port/d", "not the number of a port"),
        ("postgresql://?host=/nowhere/at/all", '"/nowhere/at/all/'),
        (f"mysql://ann:{SECRET}@h/d", "postgresql://HOST/DATABASE"),
    ],
)
def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path, url: str, why: str) -> None:
    assert why in refused(tmp_path / "home", "--catalog", url)


@pytest.fixture
def roles(postgres: Server) -> Iterator[Server]:
    """A server with a user who owns nothing."""
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE stranger LOGIN")
    yield postgres
    with postgres.connect() as connection:
        connection.execute("DROP OWNED BY stranger")
        connection.execute("DROP ROLE stranger")


def test_a_database_that_does_not_exist_is_named(tmp_path: Path, postgres: Server) -> None:
    there = postgres.schema()
    assert '"nothing" does not exist' in refused(
        tmp_path / "home", "--catalog", there.url.replace("/postgres?", "/nothing?")
    )
    postgres.drop(there)


def test_a_schema_of_somebody_else_is_left_alone(tmp_path: Path, roles: Server) -> None:
    theirs = roles.schema()
    schema = theirs.url.rpartition("%3D")[2]
    as_stranger = theirs.url.replace("postgres:@", "stranger@")
    home = tmp_path / "home"
    with pytest.raises(HomeUnusable, match="GRANT USAGE ON SCHEMA"):
        Registry(home).init(catalog=as_stranger)
    with roles.connect() as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO stranger")
    with pytest.raises(HomeUnusable, match="may create no tables"):
        Registry(home).init(catalog=as_stranger)
    Registry(tmp_path / "owner").init(catalog=theirs.url)
    with pytest.raises(RegistryError, match="GRANT SELECT"):
        Registry(home).init(catalog=as_stranger)
    with roles.connect() as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE")
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"CREATE TABLE {schema}.trail (id int)")
    with pytest.raises(NotARegistry):
        Registry(home).init(catalog=theirs.url)
    assert not home.exists()
    roles.drop(theirs)
