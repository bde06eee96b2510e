"""The rule of trust and the audit of classes, for each of the models of one version."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from strangers import TELLTALE, forget, traces

import registry
from registry import errors


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with two modules that tell when they are imported, which this process has not imported."""
    place = tmp_path / "code"
    for name in ("ours", "theirs"):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text(TELLTALE)
        forget(place / name, name)
        monkeypatch.syspath_prepend(place)
    yield place
    forget(place, "ours", "theirs")


@pytest.fixture
def copied(hub: Any, folder: Path, tmp_path: Path) -> Any:
    """A registry with a version that was copied there, so that what it names speaks for nothing."""
    import importlib

    ours, theirs = (importlib.import_module(name).Net() for name in ("ours", "theirs"))
    hub.push({"ours": ours, "theirs": theirs}, "cp", init={"ours": {}, "theirs": {}})
    there = registry.Registry(tmp_path / "there")
    hub.copy("cp", tmp_path / "there")
    for name in ("ours", "theirs"):
        forget(folder / name, name)
    return there


def test_no_class_is_imported_unless_each_one_of_them_is_trusted(
    copied: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_TRUST", "ours")
    with pytest.raises(errors.UntrustedClass, match="theirs:Net"):
        copied.load("cp")
    assert not traces(folder / "ours") and not traces(folder / "theirs") and "theirs" not in sys.modules
    assert isinstance(copied.load("cp", part="ours"), torch.nn.Linear)
    assert not traces(folder / "theirs")
    monkeypatch.setenv("REGISTRY_TRUST", "ours,theirs")
    assert list(copied.load("cp")) == ["ours", "theirs"]


def test_naming_the_class_of_every_part_is_enough_and_of_one_is_not(copied: Any) -> None:
    assert list(copied.load("cp", model={"ours": "ours:Net", "theirs": "theirs:Net"})) == ["ours", "theirs"]
    with pytest.raises(errors.PartsDiffer, match="lacks 'theirs'"):
        copied.load("cp", model={"ours": "ours:Net"})


def test_what_imports_nothing_imports_no_part_s_class(copied: Any, folder: Path, tmp_path: Path) -> None:
    copied.state_dict("cp", part="ours")
    copied.export("cp", tmp_path / "part.safetensors", part="theirs")
    assert copied.audit().is_clean and copied.audit().classes_left == 2
    assert not traces(folder / "ours") and not traces(folder / "theirs")


def test_an_audit_of_classes_checks_each_part(hub: Any, folder: Path) -> None:
    import importlib

    nets: dict[str, Any] = {name: importlib.import_module(name).Net() for name in ("ours", "theirs")}
    hub.push(nets, "cp", init={"ours": {}, "theirs": {}})
    assert hub.audit(classes=True).is_clean
    source = folder / "theirs" / "__init__.py"
    source.write_text(TELLTALE.replace("super().__init__(width, width)", "super().__init__(width, width, bias=False)"))
    forget(folder / "theirs", "theirs")
    (fault,) = hub.audit(classes=True).faults
    assert fault.kind == "class" and str(fault.what) == "the part 'theirs': theirs:Net does not have bias"
