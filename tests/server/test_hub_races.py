"""Uploads that race, end early, or come while others read."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_clients import Served, cache as cache, serving
from safetensors.torch import save, save_file
from test_hub_writing import commit, create, file, post

import registry

pytestmark = pytest.mark.services


@pytest.fixture
def hub(tmp_path: Path) -> registry.Registry:
    hub = registry.Registry(tmp_path / "home")
    hub.push({"w": torch.zeros(3)}, "first")
    return hub


def weights(seed: int, size: int = 1000) -> bytes:
    return save({"w": torch.rand(size, generator=torch.Generator().manual_seed(seed)), "same": torch.ones(500)})


def test_commits_at_once_make_versions_without_gaps(hub: registry.Registry, cache: Path) -> None:
    with serving(hub.home, cache, "--workers", "2") as served:
        served.token()
        create(served, "lab/one")
        for number in range(4):
            create(served, f"lab/own{number}")

        def push(number: int) -> int:
            own = commit(served, f"lab/own{number % 4}", file("model.safetensors", weights(number)))
            both = commit(served, "lab/one", file("model.safetensors", weights(number)), file("vocab.txt", b"a"))
            read = served.ask("/lab/one/resolve/main/model.safetensors")
            assert (own.status, both.status, read.status) == (200, 200, 200), (own.body, both.body)
            return both.json["commitOid"]

        with ThreadPoolExecutor(8) as pool:
            commits = list(pool.map(push, range(8)))
    assert len(set(commits)) == 8
    assert [entry.version for entry in hub.list("lab/one")] == list(range(8, 0, -1))
    assert not hub.audit().faults


def test_the_same_commit_from_many_is_one_version(hub: registry.Registry, cache: Path) -> None:
    with serving(hub.home, cache, "--workers", "2") as served:
        served.token()
        create(served, "lab/same")
        with ThreadPoolExecutor(6) as pool:
            lines = [file("model.safetensors", weights(1)), file("config.json", b"{}")]
            answers = list(pool.map(lambda _: commit(served, "lab/same", *lines), range(6)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["commitOid"] for answer in answers}) == 1
    assert [entry.version for entry in hub.list("lab/same")] == [1]


def lfs(served: Served, name: str, content: bytes) -> tuple[str, dict[str, Any]]:
    oid = hashlib.sha256(content).hexdigest()
    wanted = {"operation": "upload", "objects": [{"oid": oid, "size": len(content)}]}
    found = post(served, f"/{name}.git/info/lfs/objects/batch", wanted).json["objects"][0]
    return oid, found.get("actions", {})


def test_a_server_killed_at_any_moment_of_an_upload_has_all_of_it_or_nothing(
    hub: registry.Registry, cache: Path
) -> None:
    content = weights(2, 3_000_000)
    for moment in (0.0, 0.02, 0.05, 0.1, 0.2):
        with contextlib.suppress(AssertionError), serving(hub.home, cache) as served:
            served.token()
            with contextlib.suppress(Exception):
                create(served, "lab/killed")
            oid, actions = lfs(served, "lab/killed", content)

            def upload(served: Served = served, oid: str = oid, actions: dict[str, Any] = actions) -> None:
                with contextlib.suppress(Exception):
                    if actions:
                        served.ask(actions["upload"]["href"], "PUT", content)
                    lines = {"path": "model.safetensors", "algo": "sha256", "oid": oid, "size": len(content)}
                    commit(served, "lab/killed", {"key": "lfsFile", "value": lines})

            thread = threading.Thread(target=upload)
            thread.start()
            time.sleep(moment)
            served.process.send_signal(signal.SIGKILL)
            thread.join()
        for path in (hub.home / "hub/objects").glob("*/*"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        with contextlib.suppress(registry.errors.UnknownModel):
            entry = hub.get("lab/killed")
            assert entry.version == 1 and not hub.audit("lab/killed").faults
    with serving(hub.home, cache) as served:
        oid, actions = lfs(served, "lab/killed", content)
        if actions:
            assert served.ask(actions["upload"]["href"], "PUT", content).status == 200
        lines = {"path": "model.safetensors", "algo": "sha256", "oid": oid, "size": len(content)}
        assert commit(served, "lab/killed", {"key": "lfsFile", "value": lines}).status == 200
        assert served.ask("/lab/killed/resolve/main/model.safetensors").body == content


def test_memory_does_not_grow_with_what_is_downloaded_or_uploaded(
    hub: registry.Registry, cache: Path, tmp_path: Path
) -> None:
    big = tmp_path / "big.safetensors"
    made = torch.rand(64 << 20, generator=torch.Generator().manual_seed(1))  # 256 MiB
    save_file({"w": made, "v": made + 1}, big)
    with serving(hub.home, cache) as served:
        served.client(
            """
            import os
            from huggingface_hub import HfApi
            api = HfApi()
            api.create_repo("lab/big")
            api.upload_file(repo_id="lab/big", path_in_repo="model.safetensors", path_or_fileobj=os.environ["OUT"])
            """,
            served.token(),
            OUT=str(big),
        )
        before = peak(served)
        with urllib.request.urlopen(f"{served.url}/lab/big/resolve/main/model.safetensors") as answer:
            digest = hashlib.sha256()
            while piece := answer.read(1 << 20):
                digest.update(piece)
        after = peak(served)
    with big.open("rb") as opened:
        assert digest.hexdigest() == hashlib.file_digest(opened, "sha256").hexdigest()
    assert after < 300 << 20 and after - before < 64 << 20, (before, after)


def peak(served: Served) -> int:
    """Return the most memory of its own that the server had."""
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
