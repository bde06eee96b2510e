"""A version as a safetensors file: planned, then streamed from the blobs and checked on its way, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from nets import Counting, PointNet, Tied
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from registry import Registry, errors

LEAN = "import sys\nfrom registry.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\nprint(*sys.modules)"


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {"b.w": torch.randn(3, 2), "a": torch.arange(5), "c": torch.randn(7).bfloat16(), "b.e": torch.zeros(0, 4)}


def blob_of(hub: Registry, ref: str, name: str) -> tuple[Path, int]:
    """The file of a tensor's blob, and where the tensor begins in it."""
    location = hub.catalog.manifest_and_documents(hub.get(ref))[0].tensors[name].location
    return hub.home / "blobs" / location.blob[:2] / f"{location.blob}.safetensors", location.offset


def test_the_bytes_of_an_export_are_pinned(hub: Registry, tmp_path: Path) -> None:
    state = weights()
    hub.push(state, "net")
    text = (
        b'{"__metadata__":{"format":"pt"},"a":{"dtype":"I64","shape":[5],"data_offsets":[0,40]},'
        b'"b.e":{"dtype":"F32","shape":[0,4],"data_offsets":[40,40]},'
        b'"b.w":{"dtype":"F32","shape":[3,2],"data_offsets":[40,64]},'
        b'"c":{"dtype":"BF16","shape":[7],"data_offsets":[64,78]}}'
    )
    length = -(-(8 + len(text)) // 64) * 64 - 8
    data = b"".join(state[name].view(torch.uint8).numpy().tobytes() for name in ("a", "b.w", "c"))
    written = hub.export("net", tmp_path / "net.safetensors").read_bytes()
    assert written == length.to_bytes(8, "little") + text.ljust(length) + data


def test_an_export_is_the_same_however_the_weights_came_and_wherever_they_lie(hub: Registry, tmp_path: Path) -> None:
    state = weights()
    hub.push({**state, "c": state["c"] + 1}, "other")  # so that the blobs are shared and laid out otherwise
    hub.push(state, "net")
    alone = Registry(tmp_path / "alone")
    wrapped = {f"module.{name}": state[name] for name in reversed(state)}
    torch.save(wrapped, tmp_path / "wrapped.pth")
    alone.push(tmp_path / "wrapped.pth", "net", from_="ddp")
    one = hub.export("net", tmp_path / "one.safetensors").read_bytes()
    assert one == alone.export("net", tmp_path / "two.safetensors").read_bytes()


def test_each_name_of_a_tie_has_a_copy_and_the_file_says_what_was_tied(hub: Registry, tmp_path: Path) -> None:
    model = Tied()
    hub.push(model, "net")
    out = hub.export("net", tmp_path / "net.safetensors")
    with safe_open(out, "pt") as file:
        assert set(file.metadata()) == {"format", "ties"}
    loaded = load_file(out)
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
    again = hub.push(out, "again")
    assert again.digest == hub.get("net").digest


def damaged(change: Callable[[Path, int], object]) -> Callable[[Path, int], None]:
    def damage(path: Path, begin: int) -> None:
        path.chmod(0o600)
        change(path, begin)

    return damage


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        [byte] = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))


LONG = (9 << 20) // 4
"""Elements of a tensor that is read in two pieces."""

DAMAGES = {
    "first bit": damaged(flip),
    "bit of the second piece": damaged(lambda path, begin: flip(path, begin + 4 * LONG - 1)),
    "end": damaged(lambda path, begin: os.truncate(path, path.stat().st_size - 5)),
    "second piece": damaged(lambda path, begin: os.truncate(path, begin + (8 << 20))),
    "file": lambda path, begin: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.in_a_folder
def test_what_the_disk_changed_is_refused_while_it_is_written_and_leaves_nothing(
    damage: str, hub: Registry, tmp_path: Path
) -> None:
    hub.push({"long": torch.arange(LONG, dtype=torch.float32), "b": torch.ones(3)}, "net")
    DAMAGES[damage](*blob_of(hub, "net", "long"))
    (tmp_path / "out").mkdir()
    with pytest.raises(errors.DamagedBlob):
        hub.export("net", tmp_path / "out" / "net.safetensors")
    assert list((tmp_path / "out").iterdir()) == []
    hub.push({"long": torch.zeros(LONG), "b": torch.ones(3)}, "whole")
    assert torch.equal(load_file(hub.export("whole", tmp_path / "out" / "whole.safetensors"))["b"], torch.ones(3))


def test_values_that_are_no_tensors_are_refused_before_anything_is_written(hub: Registry, tmp_path: Path) -> None:
    hub.push(Counting(), "net")
    with pytest.raises(errors.CannotExport, match=r"is not a tensor, .*\.pth"):
        hub.export("net", tmp_path / "net.safetensors")
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("verb", [["export", "net", "OUT.safetensors"], ["diff", "net:v1", "net:v2"]])
def test_what_reads_bytes_alone_imports_no_torch(verb: list[str], home: Path, tmp_path: Path) -> None:
    hub = Registry(home)
    hub.push(PointNet(), "net")
    hub.push(nn.DataParallel(PointNet()), "net")
    arguments = [word.replace("OUT", str(tmp_path / "out")) for word in verb]
    done = subprocess.run([sys.executable, "-c", LEAN, *arguments], capture_output=True, text=True)
    imported = set(done.stdout.splitlines()[-1].split())
    assert "registry.blobs.store" in imported and not {"torch", "safetensors"} & imported
    assert verb[0] == "diff" or (tmp_path / "out.safetensors").is_file()
