"""Pushes that end otherwise than they began: beside damage, with little room, with the process, without threads."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file

from registry import Registry
from registry.blobs import writer
from registry.blobs.workers import Workers
from registry.catalog.migration import connect
from registry.pushing.provenance import SourceDigest

MIB = 1 << 18
"""Elements of four bytes."""


def state(tensors: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {f"w{number}": torch.randn(2 * MIB, generator=generator) for number in range(tensors)}


@pytest.mark.parametrize("name", ["net", "other"])
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_nothing_of_a_damaged_blob_is_shared_in_whatever_batch_that_is_found(
    hub: Registry, tmp_path: Path, name: str, how: str
) -> None:
    path = tmp_path / "net.pth"
    torch.save(state(5), path)
    hub.push(path, "net", from_="single")
    [blob] = hub.home.glob("blobs/*/*.safetensors")
    blob.chmod(0o644)
    if how == "cut":
        os.truncate(blob, blob.stat().st_size * 5 // 8)
    else:
        content = bytearray(blob.read_bytes())
        content[-1000] ^= 1
        blob.write_bytes(content)
    with patch.multiple(writer, BATCH_BYTES=1 << 20, SMALL=0):
        hub.push(path, name, from_="single")
    assert hub.audit().is_clean
    assert all(torch.equal(tensor, state(5)[key]) for key, tensor in hub.state_dict(name).items())


PUSHES_MUCH_THAT_IS_STORED = """
import resource, sys, torch
from registry import Registry
from registry.blobs import new_blob
new_blob.AT_ONCE = int(sys.argv[2])
stored = torch.arange(6 << 18, dtype=torch.float32)
hub = Registry(sys.argv[1])
hub.push({"w": stored}, "net", from_="single")
resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))
new = torch.ones(2 << 18)
assert hub.push({"w": stored, "head": new}, "net", from_="single").ref == "net:v2"
try:
    hub.push({"w": stored + 1, "head": new}, "net", from_="single")
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("at_once", [0, 1 << 40], ids=["all room taken at once", "as it is written"])
def test_what_is_new_needs_no_room_for_what_is_stored(home: Path, at_once: int) -> None:
    program = [sys.executable, "-c", PUSHES_MUCH_THAT_IS_STORED, str(home), str(at_once)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "StoreUnwritable\n"), done.stderr
    assert Registry(home).audit().is_clean


LAST_LINE = {
    "in the background": "registry.push(net, 'net', init=SIZE, blocking=False)",
    "in the background, a file": "torch.save(net.state_dict(), 'net.pth'); registry.push('net.pth', blocking=False)",
    "in a thread": "threading.Thread(target=registry.push, args=(net, 'net'), kwargs={'init': SIZE}).start()",
}


@pytest.mark.parametrize("line", LAST_LINE.values(), ids=LAST_LINE)
def test_a_process_does_not_end_before_its_last_push(home: Path, tmp_path: Path, line: str) -> None:
    size = "SIZE = {'in_features': 2000, 'out_features': 2000}"
    begin = f"import threading, registry, torch\n{size}\nnet = torch.nn.Linear(**SIZE)\n"
    environment = {**os.environ, "REGISTRY_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", begin + line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Registry(home).get("net").ref == "net:v1"


WAITED_FOR_IN_A_CHILD = """
import os, sys, registry, torch
pending = registry.push({"w": torch.ones(1 << 22)}, "net", blocking=False)
if not os.fork():
    try:
        pending.wait()
    except registry.errors.OfAnotherProcess as error:
        print(str(os.getppid()) in str(error), flush=True)
    os._exit(0)
os.wait()
print(pending.wait().ref)
"""


def test_a_child_does_not_wait_for_what_its_parent_pushes(home: Path) -> None:
    program = [sys.executable, "-c", WAITED_FOR_IN_A_CHILD]
    done = subprocess.run(
        program, capture_output=True, text=True, check=False, env={**os.environ, "REGISTRY_HOME": str(home)}
    )
    assert (done.stdout, done.returncode) == ("True\nnet:v1\n", 0), done.stderr


def test_a_file_that_is_pushed_in_the_background_may_be_written_anew_at_once(hub: Registry, tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    torch.save(state(3), path)
    content = path.read_bytes()
    pending = hub.push(path, "net", from_="single", blocking=False)
    torch.save(state(3, seed=1), path)
    entry = pending.wait()
    assert torch.equal(hub.state_dict("net")["w0"], state(3)["w0"])
    path.write_bytes(content)
    assert hub.push(path, "other", from_="single").source_digest == entry.source_digest


def test_what_fails_has_its_file_hashed_no_further(
    hub: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.pth"
    torch.save(state(3), path)
    stopped: list[SourceDigest] = []
    stop = SourceDigest.stop

    def watched(digest: SourceDigest) -> None:
        stopped.append(digest)
        stop(digest)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SourceDigest, "stop", watched)
    with pytest.raises(KeyboardInterrupt):
        hub.push(path, "net", from_="single", progress=interrupt)
    assert stopped and not list(hub.home.glob("tmp/*"))


def test_where_no_thread_can_be_begun_the_one_there_is_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, path = Registry(tmp_path / "home"), tmp_path / "net.pth"
    torch.save(state(4), path)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        entry = hub.push(path, "net", from_="single")
        assert hub.push({"w": torch.ones(2)}, "later", blocking=False).wait().ref == "later:v1"
        assert torch.equal(hub.state_dict("net")["w0"], state(4)["w0"])
    assert hub.push({"w": torch.zeros(2)}, "later").ref == "later:v2"
    assert hub.push(path, "other", from_="single").source_digest == entry.source_digest is not None
    assert torch.equal(hub.state_dict("net")["w3"], state(4)["w3"])


@pytest.mark.parametrize("at_once", [100, 5000])
def test_a_system_may_write_less_than_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """As one does whose disk is nearly full; what asks for the rest is then told so."""
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, content, at: pwrite(handle, memoryview(content)[:at_once], at))
    plain, deflated = tmp_path / "net.pth", tmp_path / "deflated.pth"
    torch.save(state(1), plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            target.writestr(item.filename, source.read(item))
    hub = Registry(tmp_path / "home")
    for path in (plain, deflated):
        hub.push(path, path.stem, from_="single", force_new=True)
        assert torch.equal(hub.state_dict(path.stem)["w0"], state(1)["w0"])
    many = {f"small{number}": torch.full((2,), float(number)) for number in range(300)}
    hub.push(many, "many", from_="single")  # its header is longer than what is written at once
    hub.export("many", tmp_path / "many.safetensors")
    assert hub.audit().is_clean
    assert len(load_file(tmp_path / "many.safetensors")) == 300


def test_a_connection_that_an_interrupt_ended_holds_no_lock(tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    hub.push({"w": torch.ones(2)}, "net")
    path = hub.catalog.path
    interrupted = connect(path, "rw")
    interrupted.execute("BEGIN IMMEDIATE")
    pending = interrupted.execute("SELECT * FROM versions")  # a traceback keeps it
    interrupted.close()
    with contextlib.closing(connect(path, "rw", 0.1)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    del pending


def test_a_thread_whose_beginning_is_interrupted_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[threading.Thread] = []
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        begun.append(thread)
        start(thread)
        raise KeyboardInterrupt

    workers = Workers(1, "blake3")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            workers.submit(int)
    workers.close()
    begun[0].join(10)
    assert not begun[0].is_alive()
