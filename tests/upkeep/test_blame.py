"""Which version introduced each tensor."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st

from registry import Entry, Registry, errors
from registry.upkeep.blame import grouped, introduced

NAMES = ("encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "head.weight")


def push(hub: Registry, values: dict[str, float], parent: Entry | None = None) -> Entry:
    weights = {name: torch.full((3,), values.get(name, 0.0)) for name in NAMES}
    return hub.push(weights, "net", parent=parent, force_new=True)


def chain(hub: Registry) -> list[Entry]:
    """Three versions: the second has another head, the third another first layer."""
    first = push(hub, {})
    second = push(hub, {"head.weight": 1.0}, first)
    return [first, second, push(hub, {"head.weight": 1.0, "encoder.0.weight": 2.0}, second)]


def test_each_tensor_comes_from_the_version_that_first_had_it(hub: Registry):
    *_, last = chain(hub)
    report = hub.blame(last)
    assert {each.name: each.ref for each in report.tensors} == {
        "encoder.0.weight": "net:v3",
        "encoder.0.bias": "net:v1",
        "encoder.1.weight": "net:v1",
        "head.weight": "net:v2",
    }
    assert report.chain == ("net:v3", "net:v2", "net:v1") and report.end == ""


def test_values_that_came_back_are_those_of_the_oldest_version_that_had_them(hub: Registry):
    first = push(hub, {})
    third = push(hub, {}, push(hub, {"head.weight": 1.0}, first))
    assert {each.ref for each in hub.blame(third).tensors} == {"net:v1"}


def test_the_same_values_under_another_name_are_not_the_same_tensor(hub: Registry):
    first = hub.push({"a": torch.ones(2)}, "net")
    second = hub.push({"b": torch.ones(2)}, "net", parent=first)
    assert [each.ref for each in hub.blame(second).tensors] == ["net:v2"]


def test_a_pattern_asks_for_some_tensors_and_one_that_fits_none_is_an_error(hub: Registry):
    *_, last = chain(hub)
    assert [each.name for each in hub.blame(last, "head.*").tensors] == ["head.weight"]
    with pytest.raises(errors.NothingToBlame, match=r"'heads'.*'encoder.0.weight'"):
        hub.blame(last, "heads")


def test_a_parent_in_the_trash_ends_the_chain_with_a_word(hub: Registry):
    *_, last = chain(hub)
    hub.rm("net:v1")
    report = hub.blame(last)
    assert report.chain == ("net:v3", "net:v2") and report.end == "net:v1, the parent of net:v2, is in the trash"
    assert {each.ref for each in hub.blame(last, "encoder.1.*").tensors} == {"net:v2"}


def test_a_parent_that_was_collected_ends_the_chain_with_a_word(hub: Registry):
    *_, last = chain(hub)
    hub.rm("net:v1")
    hub.gc(grace=timedelta(0))
    assert "emptied" in hub.blame(last).end


def edited(hub: Registry, statement: str) -> None:
    path = hub.catalog.path
    hub.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.mark.in_a_folder
def test_a_parent_of_another_home_ends_the_chain_with_a_word(hub: Registry):
    *_, last = chain(hub)
    edited(hub, "UPDATE versions SET parent_uid = 'elsewhere' WHERE number = 2")
    report = hub.blame(last)
    assert report.chain == ("net:v3", "net:v2") and report.end == "net:v1, the parent of net:v2, is not in this home"


@pytest.mark.in_a_folder
def test_a_parent_that_is_known_by_its_name_alone_is_followed(hub: Registry):
    *_, last = chain(hub)
    edited(hub, "UPDATE versions SET parent_uid = NULL, parent_number = NULL, parent_record = NULL")
    assert hub.blame(last).chain == ("net:v3", "net:v2", "net:v1")


@pytest.mark.parametrize("by", ["identity", "name"])
@pytest.mark.in_a_folder
def test_versions_that_an_edited_database_makes_each_others_parents_end(hub: Registry, by: str):
    *_, last = chain(hub)
    identity = f"parent_uid = '{last.uid}', parent_number = 3, parent_record = '{last.record_digest}'"
    edited(hub, f"UPDATE versions SET parent = 'net:v3'{', ' + identity if by == 'identity' else ''} WHERE number = 1")
    report = hub.blame(last)
    assert report.chain == ("net:v3", "net:v2", "net:v1") and "net:v3, the parent of net:v1" in report.end


@pytest.mark.in_a_folder
def test_an_edited_manifest_is_not_believed(hub: Registry):
    *_, last = chain(hub)
    edited(hub, "UPDATE documents SET body = (SELECT body FROM documents WHERE version_id = 2) WHERE version_id = 1")
    with pytest.raises(errors.ChangedVersion, match="net:v1"):
        hub.blame(last)


def test_the_command_gathers_modules_and_json_has_every_tensor(hub: Registry, tmp_path: Path):
    chain(hub)
    command = [sys.executable, "-X", "importtime", "-m", "registry", "blame", "net", "--home", str(hub.home)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["encoder.1.weight", "net:v1", "1"] in lines and ["head.weight", "net:v2", "1"] in lines
    assert "| torch" not in shown.stderr
    document = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert [each["name"] for each in document["tensors"]] == list(NAMES)


def test_a_module_all_of_whose_tensors_share_a_version_is_one_line():
    tensors = [("a.x", "v1"), ("a.y", "v1"), ("b.c.x", "v2"), ("b.c.y", "v2"), ("b.d", "v1"), ("e.x", "v1")]
    assert grouped(tensors) == [("a.*", "v1", 2), ("b.c.*", "v2", 2), ("b.d", "v1", 1), ("e.x", "v1", 1)]
    assert grouped([("a", "v1"), ("b.c", "v1")]) == [("*", "v1", 2)]


names = st.sampled_from(["a", "b", "a.b", "a.c", "a.b.c", "b.c"])


@given(st.dictionaries(names, st.sampled_from(["v1", "v2"]), min_size=1))
def test_the_lines_count_every_tensor_once_and_say_its_version(tensors):
    lines = grouped(list(tensors.items()))
    assert sum(count for *_, count in lines) == len(tensors)
    for label, ref, _ in lines:
        covered = [name for name in tensors if name == label or label == "*" or name.startswith(label[:-1])]
        assert label in tensors or {tensors[name] for name in covered if label[-1] == "*"} == {ref}


@given(st.lists(st.dictionaries(names, st.sampled_from("xyz")), min_size=1, max_size=6))
def test_what_is_blamed_has_the_digest_and_no_older_version_does(versions):
    youngest, *older = versions
    found = introduced("0", youngest, [(str(place), digests) for place, digests in enumerate(older, 1)])
    assert found.keys() == youngest.keys()
    for name, ref in found.items():
        having = [place for place, digests in enumerate(versions) if digests.get(name) == youngest[name]]
        assert int(ref) == max(having)
