"""Models of the libraries: pushed live or as a folder, loaded back in one line, written as the library reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import torch

import registry

pytestmark = pytest.mark.ecosystem
EACH = pytest.mark.parametrize(("builder", "make"), tiny.ALL, ids=lambda value: getattr(value, "__name__", value))


def assert_equal(one: torch.nn.Module, other: torch.nn.Module, run: Any) -> None:
    with torch.no_grad():
        assert torch.equal(run(one), run(other))


@EACH
def test_a_live_model_comes_back_in_one_line(builder: str, make: Any, hub: registry.Registry) -> None:
    model, run = make()
    entry = hub.push(model, "net")
    assert entry.builder == builder and "config" in entry.attachments and not entry.notices
    loaded, report = hub.load("net", report=True)
    assert type(loaded) is type(model) and report.built == "fast" and not loaded.training
    assert_equal(model, loaded, run)
    assert hub.check(loaded, "net").is_equal


@EACH
def test_a_folder_comes_back_in_one_line_and_is_the_live_model(
    builder: str, make: Any, hub: registry.Registry, tmp_path: Path
) -> None:
    model, run = make()
    tiny.save(builder, model, tmp_path / "saved")
    entry = hub.push(tmp_path / "saved", "net")
    assert entry.builder == builder and entry.digest == hub.push(model, "live").digest
    assert_equal(model, hub.load("net"), run)
    again = hub.push(hub.load("net"), "net")
    assert again.digest == entry.digest


@EACH
def test_what_is_exported_is_what_the_library_reads(
    builder: str, make: Any, hub: registry.Registry, tmp_path: Path
) -> None:
    model, run = make()
    hub.push(model, "net")
    hub.card("net", "# A net\n")
    folder = hub.export("net", tmp_path / "out", format="hf")
    assert (folder / "README.md").read_text() == "# A net\n"
    assert_equal(model, tiny.reopened(builder, model, folder), run)
    assert hub.push(folder, "again").digest == hub.get("net").digest
