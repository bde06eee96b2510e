"""A place where nobody has pushed yet, such as a mistyped ``REGISTRY_HOME``: reading says so and makes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from invocation import run

from registry import Registry
from registry.errors import UnknownModel


@pytest.mark.parametrize("command", ["list", "models", "log", "audit", "gc", "list --trash"])
def test_what_reads_all_makes_no_home_and_says_that_there_is_none(command: str, tmp_path: Path) -> None:
    said = run(*command.split(), home=tmp_path / "mistyped")
    assert f"there is no registry at {tmp_path / 'mistyped'} yet" in said.stderr
    assert "REGISTRY_HOME" in said.stderr
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.parametrize(
    "command",
    [
        "show net",
        "load net:best",
        "list net",
        "models net",
        "diff net:v1 net:v2",
        "export net out.pth",
        "alias net:v1 best",
        "alias net best --remove",
        "alias --rollback net:best",
        "tag net a=b",
        "annotate net --note x",
        "rename net other",
        "rm net",
        "restore net",
        "prune net --keep-last 1",
        "blame net",
        "card net",
        "log net",
        "audit net",
        "copy net ./net.bundle",
    ],
)
def test_what_asks_for_a_model_makes_no_home_and_says_where_it_looked(command: str, tmp_path: Path) -> None:
    said = run(*command.split(), home=tmp_path / "mistyped", expect=1)
    assert said.stderr.splitlines() == [
        f"registry: there is no model 'net'; there is no registry at {tmp_path / 'mistyped'} yet "
        "(--home or REGISTRY_HOME names another place)"
    ]
    assert not (tmp_path / "mistyped").exists()


def test_a_folder_of_other_things_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert json.loads(run("list", "--json", home=tmp_path).stdout) == []
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_the_first_push_makes_the_home_and_the_same_registry_reads_it(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "home")
    with pytest.raises(UnknownModel):
        registry.get("net")
    assert not registry.list() and not (tmp_path / "home").exists()
    torch.save({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "net.pth")
    registry.push(tmp_path / "net.pth")
    assert [entry.ref for entry in registry.list()] == ["net:v1"]


def test_an_import_that_only_says_what_it_would_store_makes_no_home(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    torch.save({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "old" / "net.pth")
    assert "new" in run("import", tmp_path / "old", "--dry-run", home=tmp_path / "home").stdout
    assert not (tmp_path / "home").exists()
