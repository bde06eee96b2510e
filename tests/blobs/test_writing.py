"""What is written of a push, however much of it is stored, and in whatever order that is found out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from hypothesis import example, given, settings, strategies as st
from safetensors.torch import load_file

from registry import Registry
from registry.blobs import writer

SMALL_NUMBERS: dict[str, Any] = {"PIECE": 256, "TINY": 0, "SMALL": 0, "BATCH_BYTES": 2000}
"""With which everything that goes by sizes happens to tensors of a few bytes."""

Drawn = list[tuple[int, int]]
TENSORS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from((3, 40, 100, 300))), min_size=1, max_size=14)
"""Of each its content, of which there are ten, and its length."""


def state(drawn: Drawn) -> dict[str, torch.Tensor]:
    return {f"w{number:02}": torch.full((length,), float(content)) for number, (content, length) in enumerate(drawn)}


def push(hub: Registry, drawn: Drawn, name: str, *, file: bool) -> set[tuple[float, int]]:
    """Push it, see that it is read back, and return what its own file has, by content and length."""
    before = set(hub.home.glob("blobs/*/*.safetensors"))
    source: Any = state(drawn)
    if file:
        source = hub.home.parent / f"{name}.pth"
        torch.save(state(drawn), source)
    hub.push(source, name, from_="single")
    stored = hub.state_dict(name)
    assert all(torch.equal(tensor, stored[key]) for key, tensor in state(drawn).items())
    written = [load_file(path) for path in set(hub.home.glob("blobs/*/*.safetensors")) - before]
    assert len(written) <= 1
    found = [(float(tensor[0]), len(tensor)) for tensors in written for tensor in tensors.values()]
    assert len(found) == len(set(found))
    return set(found)


@settings(max_examples=60, deadline=None)
@given(before=TENSORS, now=TENSORS, file=st.booleans())
@example([(1, 300)], [(0, 100), (2, 300), (2, 300), (3, 40), (4, 300), (1, 300), (5, 3), (6, 300)], True)
@example([(n, 300) for n in range(9)], [(9, 100), *((n, 300) for n in range(9))], True)
@example([(n, 300) for n in range(5)], [(n, 300) for n in range(9)], False)
def test_each_content_is_written_once_and_none_that_is_stored(before: Drawn, now: Drawn, file: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.multiple(writer, **SMALL_NUMBERS):
        hub = Registry(Path(folder) / "home")
        first, second = push(hub, before, "first", file=file), push(hub, now, "second", file=file)
        assert first == set(before)
        assert second == set(now) - set(before)
        assert hub.audit().is_clean and not list(hub.home.glob("tmp/*"))
        hub.close()
