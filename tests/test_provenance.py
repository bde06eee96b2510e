"""Where a version comes from: the commit that is checked out, and the digest, date and publisher of its files."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from datetime import datetime
from pathlib import Path

import old_checkpoints
import pytest
import torch
from blake3 import blake3
from safetensors.torch import save_file

from registry import Registry
from registry.checkpoints.mapping import OpenedFile
from registry.errors import ShapesDiffer
from registry.pushing.provenance import git_commit, published_at


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def test_the_commit_of_a_branch(repository: Path) -> None:
    (repository / "inner").mkdir()
    assert git_commit(repository / "inner") == git(repository, "rev-parse", "HEAD")


def test_a_new_commit_is_seen_by_the_same_process(repository: Path) -> None:
    before = git_commit(repository)
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    assert git_commit(repository) == git(repository, "rev-parse", "HEAD") != before


def test_the_commit_of_packed_references(repository: Path) -> None:
    git(repository, "pack-refs", "--all")
    assert git_commit(repository) == git(repository, "rev-parse", "HEAD")


def test_the_commit_of_a_detached_head(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    assert git_commit(repository) == git(repository, "rev-parse", "HEAD")


def test_the_commit_of_a_worktree(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", str(tmp_path / "other"))
    git(tmp_path / "other", "commit", "-q", "--allow-empty", "-m", "elsewhere")
    assert git_commit(tmp_path / "other") == git(tmp_path / "other", "rev-parse", "HEAD") != git_commit(repository)


def test_a_folder_without_a_repository_has_no_commit(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None


def test_a_repository_without_commits_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert git_commit(tmp_path) is None


def test_a_file_is_known_by_its_bytes_and_a_folder_by_all_of_its_files(hub: Registry, tmp_path: Path) -> None:
    file = old_checkpoints.put(tmp_path / "net.pth", old_checkpoints.weights(1), 1)
    assert hub.push(file).source_digest == f"blake3:{blake3(file.read_bytes()).hexdigest()}"
    digests = set()
    for number in (1, 2):
        place = old_checkpoints.shards(tmp_path / f"folder{number}", old_checkpoints.weights(number), 1)
        digests.add(hub.push(place).source_digest)
        shutil.copytree(place, tmp_path / f"copy{number}")
        digests.add(hub.push(tmp_path / f"copy{number}").source_digest)
    indexes = {(tmp_path / f"folder{number}" / "model.safetensors.index.json").read_bytes() for number in (1, 2)}
    assert len(indexes) == 1, "what tells them apart is in the shards alone"
    assert len(digests) == 2 and all(str(digest).startswith("blake3-files:") for digest in digests)


def test_a_file_of_which_nothing_is_stored_is_not_read_to_its_end(
    hub: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, came = tmp_path / "bare.safetensors", []
    save_file({"weight": torch.zeros(1 << 28, dtype=torch.uint8)}, path)
    read = OpenedFile.read

    def counted(self: OpenedFile, begin: int, nbytes: int) -> bytes:
        came.append(nbytes)
        return read(self, begin, nbytes)

    monkeypatch.setattr(OpenedFile, "read", counted)
    with pytest.raises(ShapesDiffer):
        hub.push(path, model=torch.nn.Linear, init={"in_features": 2, "out_features": 2, "bias": False})
    for thread in threading.enumerate():
        if thread.name == "source digest":
            thread.join()
    assert sum(came) < path.stat().st_size


def test_a_folder_with_another_training_state_is_another_source(hub: Registry, tmp_path: Path) -> None:
    digests = []
    for number in (1, 2):
        place = tmp_path / f"step{number}"
        old_checkpoints.put(place / "model.safetensors", old_checkpoints.weights(1), 1)
        old_checkpoints.put(place / "optimizer.pt", old_checkpoints.optimizer(number), 1)
        digests.append(hub.push(place).source_digest)
    assert digests[0] != digests[1]


def test_a_folder_with_another_configuration_is_another_source(hub: Registry, tmp_path: Path) -> None:
    digests = []
    for number in (1, 2):
        place = tmp_path / f"step{number}"
        old_checkpoints.put(place / "model.safetensors", old_checkpoints.weights(1), 1)
        (place / "config.json").write_text(f'{{"depth": {number}}}')
        digests.append(hub.push(place).source_digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize("seconds", [-2_000_000_000, 0, 4_000_000_000])
def test_a_file_of_any_date_can_be_pushed(seconds: int, hub: Registry, tmp_path: Path) -> None:
    file = old_checkpoints.put(tmp_path / "net.pth", old_checkpoints.weights(1), 1)
    os.utime(file, (seconds, seconds))
    moment = hub.push(file).saved_at
    assert moment is not None and datetime.fromisoformat(moment).timestamp() == seconds


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("models--acme--net/snapshots/f00d/unet/model.bin", "hf:acme/net@f00d"),
        ("models--gpt2/snapshots/f00d/model.bin", "hf:gpt2@f00d"),
        ("models--acme--net/snapshots/f00d", "hf:acme/net@f00d"),
        ("models--acme--net/blobs/f00d", None),
        ("models--/snapshots/f00d/model.bin", None),
        ("snapshots/f00d/model.bin", None),
        ("datasets--acme--net/snapshots/f00d/model.bin", None),
    ],
)
def test_the_cache_of_the_hub_says_where_a_file_was_published(path: str, uri: str | None, tmp_path: Path) -> None:
    assert published_at(tmp_path / path) == uri


def test_links_in_a_circle_were_published_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert published_at(tmp_path / "a") is None
