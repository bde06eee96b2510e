"""Archives of torch.save that another tool packed are read as they were, and cost what they say, and no more."""

from __future__ import annotations

import io
import resource
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from written import same, saved

from registry import Registry
from registry.checkpoints.opening import open_checkpoint
from registry.errors import DamagedCheckpoint, NotACheckpoint, OversizedCheckpoint, RegistryError


def state() -> dict[str, torch.Tensor]:
    base = torch.randn(300, 400)
    return {"a.weight": base, "a.view": base[::2, 3:], "b.bias": torch.arange(7.0), "n": torch.tensor(5)}


def packed(path: Path, value: object, how: int = zipfile.ZIP_DEFLATED, folder: str = "archive/") -> Path:
    """Write what torch.save writes as a tool does that unpacked it and packed it again."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as original, zipfile.ZipFile(path, "w", how) as file:
        for name in original.namelist():
            file.writestr(folder + name.partition("/")[2], original.read(name))
    return path


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED], ids=["deflated", "stored"])
@pytest.mark.parametrize("folder", ["archive/", "runs/best/", ""], ids=["one folder", "two folders", "no folder"])
def test_a_file_that_was_packed_again_is_the_file_that_it_was(
    how: int, folder: str, tmp_path: Path, hub: Registry
) -> None:
    value = state()
    tensors = open_checkpoint(packed(tmp_path / "a.pth", value, how, folder)).weight_sets[0].tensors
    assert all(same(tensors[name], tensor) for name, tensor in value.items())
    again = hub.push(saved(tmp_path / "b.pth", value), "net")
    assert hub.push(tmp_path / "a.pth", "net").ref == again.ref


def test_a_folder_that_shutil_packed_is_read(tmp_path: Path, hub: Registry) -> None:
    value = state()
    shutil.unpack_archive(saved(tmp_path / "a.pth", value), tmp_path / "out", "zip")
    shutil.make_archive(str(tmp_path / "again"), "zip", tmp_path / "out")
    entry = hub.push(tmp_path / "again.zip", "net")
    assert torch.equal(hub.state_dict(entry.ref)["a.view"], value["a.view"])


def test_a_flipped_bit_in_a_deflated_member_is_found(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.pth", {"w": torch.arange(5000.0)})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        entry = next(info for info in file.infolist() if info.filename.endswith("data/0"))
    content[entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpoint):
        open_checkpoint(path).weight_sets[0].tensors["w"].buffer()


@pytest.mark.parametrize("claimed", [100, 19_999, 20_001, 1 << 20])
def test_a_member_that_inflates_to_another_size_is_damage(tmp_path: Path, claimed: int) -> None:
    path = packed(tmp_path / "a.pth", {"w": torch.arange(5000.0)})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    while b"data/0" not in content[entry + 46 : entry + 60]:
        entry = content.index(b"PK\x01\x02", entry + 1)
    struct.pack_into("<I", content, entry + 24, claimed)
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpoint):
        open_checkpoint(path).weight_sets[0].tensors["w"].buffer()


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_is_packed_in_another_way_says_how(tmp_path: Path, how: int) -> None:
    with pytest.raises(NotACheckpoint, match=r"compressed with (bzip2|LZMA).*zip -0"):
        open_checkpoint(packed(tmp_path / "a.pth", state(), how))


def test_an_encrypted_archive_says_so(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", state())
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, content.index(b"PK\x01\x02") + 8, 1)
    path.write_bytes(content)
    with pytest.raises(NotACheckpoint, match="encrypted"):
        open_checkpoint(path)


@pytest.mark.parametrize("member", ["archive/data.pkl", "archive/data/0"])
def test_a_bomb_is_refused_before_it_is_inflated(tmp_path: Path, member: str) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open(member, "w") as inner:
            for _ in range(600):
                inner.write(bytes(1 << 20))
        if member != "archive/data.pkl":
            file.writestr("archive/data.pkl", b"\x80\x02}.")
    with pytest.raises(OversizedCheckpoint, match="inflates"):
        open_checkpoint(path)


def test_a_pickle_that_repeats_itself_takes_memory_in_proportion_to_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02](" + b"]" * (12 << 20) + b"e.")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from registry.checkpoints.opening import open_checkpoint\n"
        "from registry.errors import RegistryError\n"
        "try:\n    open_checkpoint(sys.argv[1])\n"
        "except RegistryError: print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(said.stdout) < 150_000  # KiB; 500,000 without a bound


def test_without_room_to_inflate_the_sentence_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "a.pth", state())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(RegistryError, match=r"no room to inflate it in .*TMPDIR"):
            open_checkpoint(path).weight_sets[0].tensors["a.weight"].buffer()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]
