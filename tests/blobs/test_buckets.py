"""Buckets that refuse, are not there, or are used by processes that were forked."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from bucket_server import buckets_in

from registry import Registry
from registry.blobs.backends.addresses import check_address
from registry.blobs.backends.answers import said, unreached
from registry.blobs.backends.objects import BucketBackend
from registry.errors import (
    ClocksApart,
    InvalidBucket,
    ObjectsForbidden,
    ObjectsUnreachable,
    RegistryError,
    UnknownBucket,
)

DIGEST = "a" * 64


def asks(objects: BucketBackend, folder: Path) -> list[str]:
    """Ask for everything there is to ask, and return the first line of what each is refused with."""
    (folder / "file").write_bytes(b"bytes")
    (folder / "into").write_bytes(b"")
    sentences = []
    with (folder / "into").open("r+b") as into:
        for ask in (
            lambda: objects.has(DIGEST),
            lambda: objects.put(DIGEST, folder / "file"),
            lambda: objects.receive(DIGEST, into.fileno()),
            lambda: objects.ranges(DIGEST, [(0, 1)]),
            lambda: list(objects.list()),
            lambda: objects.delete(DIGEST),
            lambda: objects.set_aside(DIGEST),
            lambda: objects.seconds_ahead(),
        ):
            with pytest.raises(RegistryError) as refused:
                ask()
            sentences.append(str(refused.value))
    return sentences


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3://ab/prefix", "at least 3 characters"),
        ("s3://", "at least 3 characters"),
        ("s3://Upper_Case", "not a valid name"),
        ("s4://bucket", "begins with none of"),
        ("/a/folder", "begins with none of"),
        ("https://host/bucket", "begins with none of"),
        ("s3://bucket/../other", "not a path"),
        ("s3://bucket/a?versionId=1", "not a path"),
        ("s3://key:secret@bucket/a", "from the environment alone"),
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_is_asked(url: str, why: str) -> None:
    with pytest.raises(InvalidBucket, match=why) as refused:
        BucketBackend(url)
    assert "secret" not in str(refused.value)


def test_an_address_has_one_spelling() -> None:
    assert check_address("S3://bucket//a/b/") == "s3://bucket/a/b"
    assert check_address("gs://bucket") == "gs://bucket"


def test_a_clock_that_is_wrong_is_named() -> None:
    text = "status code: 403 Forbidden: <Error><Code>RequestTimeTooSkewed</Code><Message>The difference ...</Message>"
    assert isinstance(said("s3://bucket", text), ClocksApart)
    assert "set the clock" in str(unreached("s3://bucket", text))


def test_what_the_library_reports_is_one_line() -> None:
    text = "Generic S3 error: Error performing GET http://h/b in 2ms\n\nDebug source:\nGeneric {\n  kind: Timeout\n}"
    assert str(unreached("s3://bucket", text)).count("\n") == 0
    assert "does not answer in time" in str(unreached("s3://bucket", text))


@pytest.mark.services
def test_a_bucket_that_is_not_there_is_named(bucket: str, tmp_path: Path) -> None:
    objects = BucketBackend("s3://no-such-bucket/prefix")
    for sentence in asks(objects, tmp_path):
        assert sentence.startswith("there is no bucket for s3://no-such-bucket/prefix; create it")
    with pytest.raises(UnknownBucket):
        objects.has(DIGEST)


@pytest.mark.services
def test_a_home_whose_bucket_does_not_answer_is_not_made_and_can_be_made_afterwards(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with monkeypatch.context() as without, pytest.raises(ObjectsForbidden):
        without.setenv("AWS_ACCESS_KEY_ID", "another")
        Registry(home).init(blobs=bucket)
    assert not home.exists()
    hub = Registry(home)
    hub.init(blobs=bucket)
    hub.push({"weight": torch.ones(2)}, "net")
    assert not list(home.glob("blobs/*/*")) and len(list(BucketBackend(bucket).list())) == 1


@pytest.mark.services
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_credentials_that_do_not_do_are_named(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "another")
    for sentence in asks(BucketBackend(bucket), tmp_path):
        assert f"{bucket} refuses these credentials" in sentence and "set AWS_ACCESS_KEY_ID" in sentence
    with pytest.raises(ObjectsForbidden):
        BucketBackend(bucket).has(DIGEST)


@pytest.mark.services
def test_a_server_that_is_not_there_is_named(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("registry.blobs.backends.objects._RETRIES", 1)
    for sentence in asks(BucketBackend(bucket), tmp_path):
        assert sentence.startswith(f"cannot reach the objects in {bucket}: ") and "\n" not in sentence


@pytest.mark.services
def test_a_server_that_comes_back_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.blobs.backends.objects._RETRIES", 1)
    (tmp_path / "server").mkdir()
    (tmp_path / "file").write_bytes(b"bytes")
    with buckets_in(tmp_path / "server") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        objects = BucketBackend(server.fresh())
        objects.put(DIGEST, tmp_path / "file")
        server.stop()
        with pytest.raises(ObjectsUnreachable, match="cannot reach"):
            objects.has(DIGEST)
        server.start()
        objects.fetch(DIGEST, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"bytes"


USES = """
import os, sys
from pathlib import Path
from registry.blobs.backends.objects import BucketBackend
from registry.errors import ObjectsAfterFork

objects, digest = BucketBackend(sys.argv[1]), "a" * 64
"""


@pytest.mark.services
def test_a_child_of_a_process_that_used_a_bucket_is_told_so_and_does_not_hang(bucket: str) -> None:
    said = run(
        USES
        + textwrap.dedent("""
        assert not objects.has(digest)
        child = os.fork()
        if child == 0:
            for each in (objects, BucketBackend(sys.argv[1])):
                try:
                    each.has(digest)
                except ObjectsAfterFork as error:
                    print(error, flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert not objects.has(digest), "the parent goes on"
        """),
        bucket,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.count(f"{bucket} cannot be used in this process, since it was forked") == 2


@pytest.mark.services
def test_a_child_of_a_process_that_used_none_uses_it(bucket: str) -> None:
    said = run(
        USES
        + textwrap.dedent("""
        child = os.fork()
        if child == 0:
            os._exit(0 if not objects.has(digest) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not objects.has(digest)
        """),
        bucket,
    )
    assert said.returncode == 0, said.stderr


@pytest.mark.services
def test_what_is_put_and_fetched_is_not_held_in_memory(bucket: str, tmp_path: Path) -> None:
    said = run(
        USES
        + textwrap.dedent("""
        import resource

        folder, piece = Path(sys.argv[2]), os.urandom(1 << 20)
        with open(folder / "file", "wb") as file:
            for number in range(300):
                file.write(number.to_bytes(8, "little") + piece[8:])
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        assert not objects.has(digest)
        before = peak()
        objects.put(digest, folder / "file")
        objects.fetch(digest, folder / "back")
        print(peak() - before)
        assert (folder / "file").read_bytes() == (folder / "back").read_bytes()
        """),
        bucket,
        tmp_path,
    )
    assert said.returncode == 0, said.stderr
    assert int(said.stdout) < 220, f"{said.stdout} MiB for an object of 300"


@pytest.mark.services
@pytest.mark.usefixtures("cache")  # where those of servers are, which are trimmed as well
def test_the_cache_of_a_bucket_is_shown_and_trimmed_but_for_what_is_mapped(bucket: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "registry.toml").write_text(f'blobs = "{bucket}"\n')
    said = run(
        """
        import subprocess, sys, torch, registry

        hub = registry.Registry(sys.argv[1])
        for name in ("one", "two", "three"):
            hub.push({"weight": torch.full((300_000,), float(len(name)) + (name == 'one'))}, name)
        held = hub.state_dict("two")
        command = [sys.executable, "-m", "registry", "cache", "--home", sys.argv[1]]
        print(subprocess.run([*command, "--to", "0"], capture_output=True, text=True, check=True).stdout)
        left = list((hub.home / "cache").rglob("*.safetensors"))
        assert len(left) == 1, left
        assert float(held["weight"].sum()) == 900_000.0
        assert float(hub.state_dict("three")["weight"].sum()) == 1_500_000.0
        """,
        home,
    )
    assert said.returncode == 0, said.stderr
    assert "removed 2 files" in said.stdout and "1 file in use stayed" in said.stdout
