"""Versions of several models that earlier programs left are loaded, resumed and checked as if they were new."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import freeze
import pytest
import torch

from registry import Registry

ARCHIVES = sorted(freeze.FIXTURES.glob("parts-*.tar.gz"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name)
def former(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with tarfile.open(request.param) as packed:
        packed.extractall(tmp_path)
    return Registry(tmp_path / "home")


def trained() -> tuple[dict[str, Any], torch.optim.Optimizer]:
    parts, optimizer = freeze.branches()
    sum(part(torch.ones(1, 3)).sum() for part in parts.values()).backward()
    optimizer.step()
    return parts, optimizer


def test_its_parts_are_loaded_together_and_alone(former: Any) -> None:
    parts, _ = trained()
    loaded = former.load("live")
    assert former.check(parts, "live").is_equal and loaded["img"].bias is loaded["point"].bias
    assert torch.equal(former.load("live", part="img").weight, parts["img"].weight)
    assert former.get("live").parts[1] == (
        "img",
        "torch.nn.modules.linear:Linear",
        {"in_features": 3, "out_features": 2},
    )
    assert former.get("filed").parts == (("point", None, {}), ("img", None, {}))
    assert former.check(freeze.linear(1), "filed", part="point").is_equal
    assert former.audit(classes=True).is_clean


def test_its_job_goes_on(former: Any) -> None:
    pushed, optimizer = trained()
    parts, own = freeze.branches()
    assert former.resume("live", parts, own).step == 1
    for name, part in parts.items():
        momentum = own.state[part.get_parameter("weight")]["momentum_buffer"]
        assert torch.equal(momentum, optimizer.state[pushed[name].get_parameter("weight")]["momentum_buffer"])


def test_its_weights_pushed_again_are_the_version_that_is_there(former: Any) -> None:
    parts, _ = trained()
    assert former.push(parts, "live", init={name: {"in_features": 3, "out_features": 2} for name in parts}).reused
