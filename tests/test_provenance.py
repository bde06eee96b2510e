"""The commit of a version is the one that is checked out, however git keeps it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from registry.pushing.provenance import git_commit


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
