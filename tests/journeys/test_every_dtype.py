"""Every dtype, shape and layout that can be stored comes back bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from contents import is_empty

import registry
from registry.errors import UnstorableTensor
from registry.tensors.dtypes import ITEM_SIZES

DTYPES = [name for name in ITEM_SIZES if hasattr(torch, name)]


def bits(tensor: torch.Tensor) -> bytes:
    return b"" if not tensor.numel() else tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def filled(dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor of any bits; a bool has only two."""
    size = dtype.itemsize * torch.Size(shape).numel()
    raw = torch.randint(0, 2 if dtype == torch.bool else 256, (size,), dtype=torch.uint8)
    return raw.view(dtype).reshape(shape) if size else torch.empty(shape, dtype=dtype)


@pytest.mark.parametrize("name", DTYPES)
def test_a_dtype_survives_bit_for_bit(name: str, hub: registry.Registry, tmp_path: Path) -> None:
    torch.manual_seed(1)
    dtype = getattr(torch, name)
    state = {f"t{i}": filled(dtype, shape) for i, shape in enumerate([(), (3,), (2, 5), (0, 7), (1,)])}
    torch.save(state, tmp_path / "net.pth")
    hub.push(tmp_path / "net.pth")
    for got in (hub.state_dict("net"), torch.load(hub.export("net", tmp_path / "out.pth", format="as-saved"))):
        for key, tensor in state.items():
            assert (got[key].dtype, got[key].shape, bits(got[key])) == (dtype, tensor.shape, bits(tensor))


def test_views_and_strides_are_stored_by_value(hub: registry.Registry, tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    state = {
        "transposed": base.T,
        "strided": base[:, ::2],
        "channels": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "head": base.flatten()[:10],
        "overlapping": base.flatten()[5:15],
        "twin": base.T,
    }
    torch.save(state, tmp_path / "net.pth")
    entry = hub.push(tmp_path / "net.pth")
    got = hub.state_dict("net")
    assert all(torch.equal(got[name], tensor) and got[name].is_contiguous() for name, tensor in state.items())
    assert got["transposed"] is got["twin"]
    assert any("overlap" in notice for notice in entry.notices)


def test_equal_tensors_that_are_not_tied_share_no_memory(hub: registry.Registry) -> None:
    hub.push({"a": torch.zeros(4), "b": torch.zeros(4)}, "net")
    state = hub.state_dict("net")
    state["a"].fill_(1)
    assert not state["b"].any()


@pytest.mark.parametrize("tensor", [torch.eye(3).to_sparse(), torch.ones(2, dtype=torch.complex128)])
def test_what_cannot_be_stored_is_refused_by_name(tensor: torch.Tensor, hub: registry.Registry, tmp_path: Path) -> None:
    torch.save({"odd": tensor, "w": torch.ones(1)}, tmp_path / "net.pth")
    for source in (tmp_path / "net.pth", {"odd": tensor}):
        with pytest.raises(UnstorableTensor, match="odd"):
            hub.push(source, "net")
    assert is_empty(hub)
