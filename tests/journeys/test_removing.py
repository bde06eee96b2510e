"""What removing a version takes along is said, and comes back with it."""

from __future__ import annotations

import json

import pytest
import torch
from invocation import run

from registry import Registry
from registry.errors import NameIsNoVersion, NoLiveVersion


@pytest.fixture
def three(hub: Registry) -> Registry:
    """A registry with three versions of one model, and one of another."""
    for number in range(3):
        hub.push({"a": torch.full((2,), float(number)), "b": torch.ones(1)}, "net")
    hub.push({"a": torch.zeros(2), "b": torch.zeros(1)}, "other")
    return hub


def test_a_forced_removal_says_which_aliases_go_and_a_restore_points_them_back(three: Registry) -> None:
    three.alias("net:v2", "best")
    three.alias("net:v2", "stable")
    said = run("rm", "net:v2", "--force", home=three.home).stdout
    assert "net:best was dropped" in said and "net:stable was dropped" in said
    assert three.get("net:v1").aliases == ()
    said = run("restore", "net:v2", home=three.home).stdout
    assert "net:best points to it again" in said and "net:stable points to it again" in said
    assert three.get("net:best").ref == three.get("net:stable").ref == "net:v2"
    assert three.audit().is_clean


def test_an_alias_that_points_elsewhere_by_now_stays_there(three: Registry) -> None:
    three.alias("net:v2", "best")
    three.rm("net:v2", force=True)
    three.alias("net:v3", "best")
    entry = three.restore("net:v2")
    assert entry.notices == ("net:best, which it lost, points to net:v3 now",)
    assert three.get("net:best").ref == "net:v3" and entry.aliases == ()


def test_a_restore_brings_back_what_the_last_removal_dropped_and_nothing_older(three: Registry) -> None:
    three.alias("net:v2", "best")
    three.rm("net:v2", force=True)
    three.restore("net:v2")
    three.unalias("net", "best")
    three.rm("net:v2")
    assert three.restore("net:v2").notices == ()
    assert three.get("net:v2").aliases == ()


def test_a_model_that_was_renamed_in_the_trash_gets_its_aliases_back(three: Registry) -> None:
    three.alias("net:v2", "best")
    three.rm("net:v2", force=True)
    three.rename("net", "team/net")
    assert three.restore("team/net:v2").notices == ("team/net:best points to it again",)
    assert three.get("team/net:best").ref == "team/net:v2"
    assert three.audit().is_clean


def test_several_versions_get_their_own_aliases_back(three: Registry) -> None:
    three.alias("net:v1", "first")
    three.alias("net:v2", "second")
    three.rm(["net:v1", "net:v2"], force=True)
    assert [entry.aliases for entry in three.restore(["net:v2", "net:v1"])] == [("second",), ("first",)]


def test_a_bare_name_removes_nothing(three: Registry) -> None:
    with pytest.raises(NameIsNoVersion, match="--all-versions"):
        three.rm("net")
    said = run("rm", "net:v1", "net", home=three.home, expect=1).stderr
    assert "'net' names a model" in said and "net:v3" in said
    assert len(three.list()) == 4


def test_all_versions_of_a_name_go_together(three: Registry) -> None:
    document = json.loads(run("rm", "net", "--all-versions", "--json", home=three.home).stdout)
    assert [entry["ref"] for entry in document["versions"]] == ["net:v3", "net:v2", "net:v1"]
    assert [entry.ref for entry in three.list()] == ["other:v1"]
    with pytest.raises(NoLiveVersion):
        three.rm("net", all_versions=True)


def test_all_versions_are_asked_for_by_name_alone(three: Registry) -> None:
    with pytest.raises(NameIsNoVersion, match="names one version"):
        three.rm(["net", "other:v1"], all_versions=True)
    assert len(three.list()) == 4
