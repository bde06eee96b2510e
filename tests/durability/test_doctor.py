"""The doctor says what a registry stands on, and what to do about what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from homes import files, push

from registry import Registry


@pytest.fixture
def hub(tmp_path: Path) -> Registry:
    hub = Registry(tmp_path / "home")
    push(hub, 1)
    return hub


def examined(hub: Registry) -> dict[str, tuple[str, str]]:
    return {finding.what: (finding.value, finding.advice) for finding in hub.doctor()}


def test_a_healthy_home_needs_nothing(hub: Registry) -> None:
    before = files(hub.home)
    found = examined(hub)
    assert {what for what, (_, advice) in found.items() if advice} <= {"free space"}
    assert {"file system", "free space", "journal mode", "schema revision", "clock", "torch", "safetensors"} <= set(
        found
    )
    assert "(local)" in found["file system"][0] and found["journal mode"][0] == "wal"
    assert all(value for value, _ in found.values())
    assert files(hub.home) == before


def test_leftovers_are_counted_and_the_command_against_them_named(hub: Registry) -> None:
    (hub.home / "tmp" / "killed.part").write_bytes(bytes(2048))
    value, advice = examined(hub)["leftovers of killed pushes"]
    assert value == "1 files, 2.0 KiB" and "registry gc" in advice
    hub.gc()
    assert examined(hub)["leftovers of killed pushes"] == ("0 files, 0 B", "")


def test_blobs_that_are_gone_or_cut_are_named_without_reading_all(hub: Registry) -> None:
    push(hub, 2)
    first, second = hub.home.glob("blobs/*/*")
    first.unlink()
    os.truncate(second, 10)
    value, advice = examined(hub)["blobs"]
    assert "2 missing or cut" in value and "registry audit --repair" in advice
