"""Under ``--json`` standard output is one document: what was done, or why it was not, whatever else is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from grounds import Ground
from invocation import COMMAND, run

from registry import Registry
from registry.errors import AliasedVersion
from registry.errors.root import rebuild

CHATTY = """
import ctypes, os, subprocess, sys
import torch

print("imported")


class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        print("built")
        os.write(1, b"by the descriptor\\n")
        subprocess.run(["echo", "by a child"])
        ctypes.CDLL(None).puts(b"by C")
        ctypes.CDLL(None).fflush(None)
"""


@pytest.fixture
def stocked(ground: Ground, home: Path) -> Path:
    hub = ground.open(ground.home(home))
    hub.push(torch.nn.Linear(3, 2).state_dict(), "net", aliases=["best"])
    hub.close()
    return home


def refusal(*words: object, home: Path, code: int) -> dict[str, Any]:
    """Return the error of the document of a command that was refused, whose sentence is on standard error, too."""
    said = run(*words, home=home, expect=code)
    document = json.loads(said.stdout)
    assert list(document) == ["error"] and list(document["error"]) == ["code", "message", "fields"]
    assert document["error"]["message"] in said.stderr
    return dict(document["error"])


def test_a_refusal_is_a_document_from_which_the_error_is_made_again(stocked: Path) -> None:
    error = refusal("rm", "net:v1", "--json", home=stocked, code=1)
    assert error["code"] == "aliased-version"
    assert error["fields"] == {"reference": "net:v1", "aliases": ["best"]}
    again = rebuild(error["code"], error["fields"])
    assert isinstance(again, AliasedVersion) and str(again) == error["message"]


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--json", "--limit", "0"],
        ["list", "--limit", "many", "--json"],
        ["list", "--json", "--no-such-option"],
        ["show", "--json"],
        ["show", "net", "too", "many", "--json"],
        ["lst", "--json"],
        ["db", "currant", "--json"],
        ["push", "net.pth", "--json", "--metric", "acc"],
        ["tag", "net:v1", "--json"],
        ["copy", "net", "--json"],
        ["gc", "--json", "--grace", "soon"],
    ],
)
def test_a_command_line_that_cannot_be_read_is_a_document_too(stocked: Path, words: list[str]) -> None:
    error = refusal(*words, home=stocked, code=2)
    assert error["code"] == "wrong-usage" and error["fields"] == {}


def test_a_word_after_the_end_of_the_options_asks_for_no_document(stocked: Path) -> None:
    said = run("show", "--", "--json", home=stocked, expect=1)
    assert said.stdout == "" and "'--json'" in said.stderr


def test_without_it_a_refusal_is_a_sentence_alone(stocked: Path) -> None:
    assert run("rm", "net:v1", home=stocked, expect=1).stdout == ""
    assert run("list", "--limit", "0", home=stocked, expect=2).stdout == ""


def test_what_differs_is_the_document_of_the_check_with_its_exit_code(stocked: Path) -> None:
    Registry(stocked).push(torch.nn.Linear(3, 2).state_dict(), "net")
    document = json.loads(run("check", "net:v1", "net:v2", "--json", home=stocked, expect=1).stdout)
    assert document["is_equal"] is False


@pytest.mark.parametrize("verb", ["load", "push", "refused"])
def test_what_a_class_prints_goes_to_standard_error(verb: str, stocked: Path, tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text(CHATTY)
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "net.pth")
    torch.save(torch.nn.Linear(3, 5).state_dict(), tmp_path / "wide.pth")
    words = {
        "load": ["load", "net", "--model", "chatty:Net"],
        "push": ["push", "net.pth", "other", "--model", "chatty:Net"],
        "refused": ["push", "wide.pth", "other", "--model", "chatty:Net"],
    }[verb]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "REGISTRY_HOME": str(stocked)}
    done = subprocess.run(
        [*COMMAND, *words, "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == (1 if verb == "refused" else 0), done.stderr
    assert ("error" in json.loads(done.stdout)) == (verb == "refused")
    for word in ("imported", "built", "by the descriptor", "by a child", "by C"):
        assert word in done.stderr


def test_a_document_is_printed_where_nobody_listens_to_errors(stocked: Path) -> None:
    environment = os.environ | {"REGISTRY_HOME": str(stocked)}
    closed = "import os; os.close(2); from registry.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", closed, "list", "--json"], env=environment, stdout=subprocess.PIPE)
    assert [entry["ref"] for entry in json.loads(done.stdout)] == ["net:v1"]


def test_help_is_on_standard_output_also_with_it(stocked: Path) -> None:
    assert "Usage: registry list" in run("list", "--json", "--help", home=stocked).stdout


def test_where_standard_output_is_no_descriptor_what_a_class_prints_goes_to_standard_error_too(
    stocked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talking.py").write_text(
        "import torch\n\n\nclass Net(torch.nn.Linear):\n    def __init__(self):\n"
        "        super().__init__(3, 2)\n        print('built')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    said = run("load", "net", "--model", "talking:Net", "--json", home=stocked)
    assert json.loads(said.stdout)["loaded"]
    assert "built" in said.stderr
