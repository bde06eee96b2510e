"""Two things at one time, a disk that is full, clocks that disagree: what a client is told, and what is left."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from served import serving

import registry.client.objects
from registry import Registry
from registry.client.session import Session
from registry.errors import StoreUnwritable

pytestmark = pytest.mark.services

MIB = 1 << 20


def weights(seed: int, nbytes: int = 4096) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {"head.weight": torch.randn(nbytes // 8, generator=draw), "trunk.weight": torch.full((nbytes // 8,), 0.5)}


def is_left_clean(home: Path) -> bool:
    here = Registry(home)
    here.gc(grace=timedelta(0))
    return here.audit().is_clean and not [*(home / "tmp").glob("*")]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer of many requests."""
    monkeypatch.setattr(registry.client.objects, "PIECE", MIB)


def _push(address: str, seed: int, start: Any, said: Any) -> None:
    hub = Registry(address)
    start.wait()
    entry = hub.push(weights(seed), "team/new", metrics={"seed": seed})
    said.put((entry.ref, seed))


@pytest.mark.parametrize("seeds", [(1, 2), (3, 3)])
def test_two_processes_that_push_a_new_model_at_once_make_it_once(
    client: Registry, home: Path, seeds: tuple[int, int]
) -> None:
    context = multiprocessing.get_context("spawn")
    start, said = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_push, args=(str(client.address), seed, start, said)) for seed in seeds]
    for process in processes:
        process.start()
    found = sorted(said.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert {ref for ref, _ in found} == {f"team/new:v{number}" for number in range(1, len(set(seeds)) + 1)}
    (model,) = client.models()
    assert (model.live, model.newest) == (len(set(seeds)), len(set(seeds)))
    for ref, seed in found:
        assert torch.equal(client.state_dict(ref)["head.weight"], weights(seed)["head.weight"])
    assert is_left_clean(home)


@pytest.mark.usefixtures("small_pieces")
def test_a_collection_takes_nothing_of_a_push_that_is_slow(client: Registry, home: Path) -> None:
    owner = Registry(home)
    owner.rm(owner.push({"trunk.weight": weights(5, 6 * MIB)["trunk.weight"]}, "old"))  # garbage that it may share
    collected = []

    def progress(done: int, total: int) -> None:
        if done > total // 2:
            collected.append(owner.gc(grace=timedelta(0)))

    client.push(weights(5, 6 * MIB), "net", progress=progress)
    assert len(collected) > 3 and not owner.list("old", trashed=True)
    assert torch.equal(client.state_dict("net")["head.weight"], weights(5, 6 * MIB)["head.weight"])
    assert is_left_clean(home)


@pytest.mark.usefixtures("small_pieces")
def test_a_model_that_is_renamed_while_it_is_loaded_is_loaded(
    client: Registry, home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Registry(home)
    owner.push(weights(6, 6 * MIB), "team/net", aliases=["best"])
    entry, names = client.get("team/net:best"), iter(["lab/net", "team/other", "lab/third"] + ["lab/third"] * 20)
    part = Session.opened

    def renamed(*arguments: Any) -> Any:
        if (name := next(names)) != (now := owner.models()[0].name):
            owner.rename(now, name)
        return part(*arguments)

    monkeypatch.setattr(Session, "opened", renamed)
    assert torch.equal(client.state_dict(entry)["head.weight"], weights(6, 6 * MIB)["head.weight"])
    assert client.get("team/net:best").ref == "lab/third:v1"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", mount], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield mount
    subprocess.run(["umount", "--lazy", mount], check=True)


def test_a_full_disk_of_the_server_is_a_sentence_at_the_client(
    small_disk: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = small_disk / "home"
    owner = Registry(home)
    monkeypatch.setenv("REGISTRY_TOKEN", owner.add_token("ann", role="write").text)
    with serving(home) as served:
        client = Registry(served.url)
        client.push(weights(1), "net")
        files = sorted(path.name for path in home.glob("blobs/*/*"))
        for _ in range(2):  # refused before a byte is sent
            with pytest.raises(StoreUnwritable, match=r"(?i)no space left|full"):
                client.push(weights(2, 64 * MIB), "net")
        ballast: list[Path] = []

        def progress(done: int, total: int) -> None:
            if done > total // 2 and not ballast:
                ballast.append(small_disk / "ballast")
                with ballast[0].open("wb", buffering=0) as file:
                    while shutil.disk_usage(small_disk).free:
                        file.write(bytes(min(MIB, shutil.disk_usage(small_disk).free)))

        monkeypatch.setattr(registry.client.objects, "PIECE", MIB)
        with pytest.raises(StoreUnwritable, match=r"(?i)no space left|full"):
            client.push(weights(3, 8 * MIB), "net", progress=progress)
        assert client.list() == owner.list() and len(client.list()) == 1
        ballast[0].unlink()
        assert sorted(path.name for path in home.glob("blobs/*/*")) == files
        assert client.push(weights(3, 8 * MIB), "net").version == 2
        assert "Traceback" not in served.log
    assert is_left_clean(home)


SHIFTED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <sys/time.h>
static long shift(void) { const char *by = getenv("SHIFT_SECONDS"); return by ? atol(by) : 0; }
int clock_gettime(clockid_t which, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(which, now);
    if (which == CLOCK_REALTIME) now->tv_sec += shift();
    return code;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec; now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *to) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (to) *to = exact.tv_sec;
    return exact.tv_sec;
}
"""

DONE_BY_A_CLIENT = """
import sys, time, torch
import registry
from registry import Registry
hub = Registry(sys.argv[1])
w = {"w": torch.randn(3 << 20)}
entry = hub.push(w, "net", aliases=["best"], metrics={"acc": 0.5})
assert torch.equal(hub.state_dict("net:best")["w"], w["w"])
assert torch.equal(hub.state_dict("old:v1")["w"], torch.arange(5.0))
hub.tag(entry, {"a": "b"}); hub.alias("old:v1", "best"); hub.rename("old", "older")
hub.rm("older:v1", force=True); hub.restore("older:v1")
assert hub.push(w, "net").reused and hub.get("net").version == 1
print(time.time())
"""


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_is_an_hour_off_changes_nothing(
    client: Registry, home: Path, tmp_path: Path, seconds: int
) -> None:
    source, library = tmp_path / "shift.c", tmp_path / "shift.so"
    source.write_text(SHIFTED)
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    owner = Registry(home)
    owner.push({"w": torch.arange(5.0)}, "old")
    shifted = {**os.environ, "LD_PRELOAD": str(library), "SHIFT_SECONDS": str(seconds)}
    words = [sys.executable, "-c", DONE_BY_A_CLIENT, str(client.address)]
    done = subprocess.run(words, env=shifted, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    now = datetime.now(UTC)
    assert abs(float(done.stdout) - now.timestamp()) > 3000, "the clock was not shifted"
    for event in owner.log():  # all of it as the server's clock has it
        assert abs((event.at - now).total_seconds()) < 600
    assert all(abs((entry.created_at - now).total_seconds()) < 600 for entry in client.list())
    assert is_left_clean(home) and client.log() == owner.log()
