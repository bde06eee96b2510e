"""``registry check``: two stored things, compared without their class."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from invocation import run
from nets import PointNet

from registry import Registry


@pytest.fixture
def files(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a checkpoint that is stored as ``net:v1`` and another one; its classes cannot be imported."""
    monkeypatch.chdir(tmp_path)
    model = PointNet()
    torch.save({"state_dict": {f"module.{name}": t for name, t in model.state_dict().items()}}, "best.pth")
    Registry(home).push(model, "net")
    with torch.no_grad():
        model.head.bias.add_(1)
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "head.weight"}
    torch.save({**state, "scale": torch.ones(1)}, "other.pth")
    monkeypatch.setattr("nets.PointNet.__init__", None)
    return tmp_path


def test_equal_weights_are_exit_code_0(files: Path, home: Path) -> None:
    said = run("check", "net:v1", "./best.pth", home=home)
    assert said.stdout == "equal: 11 tensors; different: 0\n" and not said.stderr
    assert run("check", "best.pth", "net", home=home).stdout == said.stdout


def test_what_differs_is_a_table_and_exit_code_1(files: Path, home: Path) -> None:
    lines = run("check", "net:v1", "other.pth", home=home, expect=1).stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "tensor",
        "head.bias",
        "head.weight",
        "scale",
        "equal: 9 tensors; different: 3",
    ]
    assert "float32[5]" in lines[1] and "only in net:v1" in lines[2] and "only in other.pth" in lines[3]
    assert "head.bias" in run("check", "net", "other.pth", "--name", "head.b*", home=home, expect=1).stdout
    run("check", "net", "other.pth", "--name", "features.*", home=home)


def test_types_are_told_in_the_order_of_the_arguments(tmp_path: Path, home: Path) -> None:
    for number in (2, 3):
        torch.save({"weight": torch.zeros(number)}, tmp_path / f"{number}.pth")
    said = run("check", tmp_path / "2.pth", tmp_path / "3.pth", home=home, expect=1).stdout
    assert "float32[2] -> float32[3]" in said


def test_one_json_document_says_it_all(files: Path, home: Path) -> None:
    document = json.loads(run("check", "net", "other.pth", "--json", home=home, expect=1).stdout)
    assert document["is_equal"] is False and document["differs"] == ["head.bias"]
    assert document["missing"] == ["head.weight"] and document["unexpected"] == ["scale"]
    assert document["types"] == {"head.bias": ["float32[5]", "float32[5]"]} and len(document["equal"]) == 9
    assert json.loads(run("check", "net", "best.pth", "--json", home=home).stdout)["is_equal"] is True


def test_two_files_need_no_registry(files: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    run("check", "best.pth", "./best.pth", home=nowhere)
    run("check", "best.pth", "other.pth", home=nowhere, expect=1)
    assert not nowhere.exists()


def test_what_is_not_there_is_one_sentence(files: Path, home: Path) -> None:
    assert "no such file" in run("check", "net", "./away.pth", home=home, expect=1).stderr
    assert "away" in run("check", "net", "away", home=home, expect=1).stderr
    assert "matches no name" in run("check", "net", "best.pth", "--name", "x.*", home=home, expect=1).stderr
