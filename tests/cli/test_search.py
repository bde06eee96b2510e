"""Searching and completing on the command line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from invocation import COMMAND, run

from registry import Registry
from registry.catalog.catalog import Catalog
from registry.cli.completion import joined


@pytest.fixture
def stocked(home: Path) -> Path:
    hub = Registry(home)
    for step in range(5):
        hub.push({"w": torch.full((2,), float(step))}, "pointnet", from_="single", metrics={"acc": step / 5},
                 tags={"task": "seg" if step % 2 else "cls"}, aliases=["best"])  # fmt: skip
    hub.push({"w": torch.ones(2)}, "dgcnn", from_="single", aliases=["stable"])
    hub.close()
    return home


def found(*words: str, home: Path) -> list[str]:
    return [entry["ref"] for entry in json.loads(run("list", *words, "--json", home=home).stdout)]


def test_a_query_may_be_one_argument_or_several(stocked: Path) -> None:
    for words in (["acc>=0.4 pointnet tag:task=seg sort:acc"], ["acc>=0.4", "pointnet", "tag:task=seg", "sort:acc"]):
        assert found(*words, home=stocked) == ["pointnet:v4"]
    assert found("--metric", "acc>=0.8", home=stocked) == ["pointnet:v5"]
    assert found("sort:-acc", "-n", "2", home=stocked) == ["pointnet:v5", "pointnet:v4"]


def test_what_finds_nothing_names_a_metric_that_no_version_has(stocked: Path) -> None:
    said = run("list", "accuracy>0.1", home=stocked).stdout
    assert said == "no version matches: no version has the metric accuracy, but acc\n"
    assert run("list", "acc>7", home=stocked).stdout == "no version matches\n"
    assert "no version has the metric acc\n" in run("list", "dgcnn", "acc>0.1", home=stocked).stdout


def test_the_token_that_is_printed_continues(stocked: Path) -> None:
    said = run("list", "sort:-acc", "-n", "4", home=stocked).stdout
    token = said.split("--after ")[1].split()[0]
    rest = run("list", "sort:-acc", "-n", "4", "--after", token, home=stocked).stdout
    assert [line.split()[0] for line in rest.splitlines()[1:]] == ["pointnet:v1", "dgcnn:v1"]
    assert "--after" not in rest
    as_json = run("list", "sort:-acc", "-n", "4", "--json", home=stocked)
    assert token in as_json.stderr and len(json.loads(as_json.stdout)) == 4


def test_without_a_query_the_table_has_a_row_for_each_model_and_json_a_document_for_each_version(stocked: Path) -> None:
    table = run("list", home=stocked).stdout.splitlines()
    assert [line.split()[:3] for line in table[:3]] == [
        ["model", "versions", "newest"],
        ["dgcnn", "1", "dgcnn:v1"],
        ["pointnet", "5", "pointnet:v5"],
    ]
    assert len(found(home=stocked)) == 6
    assert run("list", "--versions", home=stocked).stdout.count("pointnet:v") == 5
    assert run("list", "-n", "3", home=stocked).stdout.count(":v") == 3
    Catalog(stocked / "empty").close()
    assert "nothing is stored" in run("list", home=stocked / "empty").stdout


def test_models_are_listed(stocked: Path) -> None:
    documents = json.loads(run("models", "--json", home=stocked).stdout)
    assert [(each["name"], each["live"], each["newest"], each["aliases"]) for each in documents] == [
        ("dgcnn", 1, 1, {"stable": 1}),
        ("pointnet", 5, 5, {"best": 5}),
    ]
    assert "pointnet" not in run("models", "dg*", home=stocked).stdout
    assert "no model that fits x*" in run("models", "x*", home=stocked).stdout
    Catalog(stocked / "empty").close()
    assert "nothing is stored" in run("models", home=stocked / "empty").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pointnet", "acc>>1"], "cannot be read at character 13, '>>1': '>>' is not a comparison"),
        (["klass:Net"], "there is no field 'klass'; did you mean class:Net?"),
        (["net:v1"], "`registry show net:v1`; the fields are class"),
        (["pointnet:v3"], "`registry show pointnet:v3`"),
        (["pointnett"], "did you mean pointnet?"),
        (["--after", "nonsense"], "page token cannot be used"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(stocked: Path, words: list[str], says: str) -> None:
    failed = run("list", *words, home=stocked, expect=1)
    assert says in failed.stderr and failed.stderr.count("\n") == 1 and failed.stdout == ""


def completed(*words: str, home: Path, shell: str = "bash") -> list[str]:
    """Return what a shell is told when the last word is being typed."""
    asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    if shell != "bash":
        asked = {"_TYPER_COMPLETE_ARGS": " ".join(words), "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environment = {**os.environ, "REGISTRY_HOME": str(home), "_REGISTRY_COMPLETE": f"complete_{shell}", **asked}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_models_references_aliases_and_formats_are_completed(stocked: Path) -> None:
    assert completed("registry", "show", "po", home=stocked) == ["pointnet"]
    # bash takes a colon for the end of a word.
    assert completed("registry", "show", "pointnet", ":", "b", home=stocked) == ["best"]
    assert completed("registry", "show", "pointnet", ":", home=stocked) == ["best", "v5", "v4", "v3", "v2", "v1"]
    assert completed("registry", "show", "pointnet:v", home=stocked, shell="fish")[0] == "pointnet:v5"
    assert completed("registry", "alias", "dgcnn", "s", home=stocked) == ["stable"]
    assert completed("registry", "export", "dgcnn", "out.pth", "--format", "as", home=stocked) == ["as-saved"]
    assert completed("registry", "list", "alias", ":", "b", home=stocked) == ["best"]
    assert completed("registry", "list", "wr", home=stocked) == ["wrapper:"]
    assert completed("registry", "mod", home=stocked) == ["models"]


def test_completion_makes_and_upgrades_nothing_and_says_nothing(stocked: Path, tmp_path: Path) -> None:
    assert completed("registry", "show", "po", home=tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "registry.db").write_text("not a database")
    assert completed("registry", "show", "po", home=tmp_path / "odd") == []
    assert [path.name for path in (tmp_path / "odd").iterdir()] == ["registry.db"]
    assert completed("registry", "show", "nothing", ":", "x", home=stocked) == []


def test_completion_imports_no_torch(stocked: Path) -> None:
    code = (
        "import sys\nfrom registry.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'alembic', 'rich'} & set(sys.modules), sys.modules.keys()"
    )
    asked = {"COMP_WORDS": "registry\nshow\npo", "COMP_CWORD": "2", "_REGISTRY_COMPLETE": "complete_bash"}
    done = subprocess.run([COMMAND[0], "-c", code], env={**os.environ, **asked}, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("pointnet", "")


@pytest.mark.parametrize(
    ("words", "current", "whole"),
    [
        (["registry", "show", "net"], 2, (["registry", "show"], "net", "")),
        (["registry", "show", "net", ":", "b"], 4, (["registry", "show"], "b", "net:")),
        (["registry", "show", "net", ":"], 3, (["registry", "show"], "", "net:")),
        (["registry", "diff", "net", ":", "v1", "net", ":"], 6, (["registry", "diff", "net:v1"], "", "net:")),
        (["registry", "list", "tag", ":", "task", "=", "s"], 6, (["registry", "list"], "s", "tag:task=")),
        (["registry", "show"], 2, (["registry", "show"], "", "")),
    ],
)
def test_words_that_bash_took_apart_are_joined(words: list[str], current: int, whole: object) -> None:
    assert joined(words, current) == whole
