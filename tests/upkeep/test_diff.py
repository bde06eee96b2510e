"""What differs between versions, computed from verified bytes alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from registry import Registry, errors
from registry.tensors.statistics import ELEMENTS


def pushed(hub: Registry, *states: dict[str, torch.Tensor]) -> None:
    for state in states:
        hub.push(state, "net")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("float32", "float32"),
        ("bfloat16", "float32"),
        ("float8_e4m3fn", "bfloat16"),
        ("bool", "int64"),
        ("complex64", "float64"),
        ("uint8", "float16"),
    ],
)
def test_a_difference_across_dtypes_is_that_of_the_values_to_the_last_piece(
    before: str, after: str, hub: Registry
) -> None:
    torch.manual_seed(0)
    old = (torch.rand(ELEMENTS + 3) * 3).to(getattr(torch, before))
    new = (torch.rand(ELEMENTS + 3) * 3).to(getattr(torch, after))
    new[-1] = 30
    pushed(hub, {"w": old, "kept": torch.ones(2)}, {"w": new, "kept": torch.ones(2)})
    difference = hub.diff("net:v1", "net:v2")
    [change] = difference.changed
    wide = torch.complex128 if "complex" in before else torch.float64
    expected = new.to(wide) - old.to(wide)
    assert change.norm is not None and change.relative is not None and change.largest is not None
    assert math.isclose(change.norm, float(expected.norm()), rel_tol=1e-9)
    assert math.isclose(change.relative, float(expected.norm()) / float(old.to(wide).norm()), rel_tol=1e-9)
    assert math.isclose(change.largest, float(expected.abs().max()), rel_tol=1e-12)
    assert difference.equal == 1


def test_another_shape_no_elements_and_nothing_before_have_no_relative_size(hub: Registry) -> None:
    pushed(
        hub,
        {"shape": torch.ones(2), "empty": torch.zeros(0, 2), "zero": torch.zeros(3)},
        {"shape": torch.ones(3), "empty": torch.zeros(0, 2, dtype=torch.float64), "zero": torch.ones(3)},
    )
    changes = {change.name: change for change in hub.diff("net:v1", "net:v2").changed}
    assert (changes["shape"].norm, changes["shape"].largest) == (None, None)
    assert (changes["empty"].norm, changes["empty"].relative, changes["empty"].largest) == (0, None, 0)
    assert changes["zero"].relative is None and changes["zero"].norm == pytest.approx(math.sqrt(3))


@pytest.mark.parametrize("damage", ["bit", "end"])
@pytest.mark.parametrize("side", ["net:v1", "net:v2"])
def test_bytes_that_the_disk_changed_are_not_compared(damage: str, side: str, hub: Registry) -> None:
    pushed(hub, {"w": torch.ones(2 * ELEMENTS)}, {"w": torch.zeros(2 * ELEMENTS)})
    location = hub.catalog.manifest_and_documents(hub.get(side))[0].tensors["w"].location
    path = Path(hub.home) / "blobs" / location.blob[:2] / f"{location.blob}.safetensors"
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[-1] ^= 64
    path.write_bytes(content if damage == "bit" else content[:-1])
    with pytest.raises(errors.DamagedBlob):
        hub.diff("net:v1", "net:v2")
