"""Names for the models of a folder: legal, different, and after what their files share."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from registry.importing.names import Member, legal, named
from registry.reference import check_new_model_name

PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")

names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=120)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
models = st.lists(st.lists(st.builds(Member, path=paths, is_folder=st.booleans()), min_size=1, max_size=4), max_size=5)


def is_legal(name: str) -> bool:
    check_new_model_name(name)
    is_part = PART.fullmatch(name) is not None and len(name) <= 96
    return is_part and "--" not in name and ".." not in name and name[-1] not in ".-"


@given(models, names, st.sets(st.text("abm-2", max_size=4)))
def test_names_are_legal_and_different_and_none_is_taken(
    given: list[list[Member]], folder: str, taken: set[str]
) -> None:
    found = named(given, folder, lambda number, name: name not in taken)
    assert len(found) == len(given) == len(set(found))
    assert all(map(is_legal, found)) and not taken & set(found)


@given(names)
def test_a_legal_name_stays_and_any_other_becomes_one(text: str) -> None:
    name = legal(text)
    assert name == "" or (is_legal(name) and legal(name) == name)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([["runs/pointnet/a.pth", "runs/pointnet/b.pth"]], ["pointnet"]),
        ([["a.pth", "b.pth"]], ["old"]),
        ([["runs/one/last.pth", "runs/two/last.pth"]], ["runs"]),
        ([["resnet50.pth"]], ["resnet50"]),
        ([["pointnet_ddp.pth", "pointnet_ema.pth"], ["vit-1.pth", "vit-2.pth"]], ["pointnet", "vit"]),
        ([["x/one.pth", "x/two.pth"], ["x/three.pth"]], ["one", "three"]),
        ([["a/best.pth"], ["b/best.pth"]], ["a-best", "b-best"]),
        ([["best.pth"], ["b/best.pth"]], ["old-best", "b-best"]),
        ([["模型.pth"]], ["old"]),
        ([["model.safetensors.index.json"]], ["model"]),
    ],
)
def test_what_models_are_called(files: list[list[str]], expected: list[str]) -> None:
    assert list(named([list(map(Member, each)) for each in files], "old", lambda number, name: True)) == expected


def test_a_name_that_is_taken_is_told_apart_by_its_folder_and_then_by_a_number() -> None:
    model = [[Member("a/best.pth")]]
    assert named(model, "old", lambda number, name: name != "best") == ("a-best",)
    assert named(model, "old", lambda number, name: name not in ("best", "a-best", "old-a-best")) == ("old-a-best-2",)
