"""Files that are no checkpoint, or that lie about themselves, are refused in one sentence and without waiting."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile

import pytest
import torch
from deliberate import wrong
from safetensors.torch import save_file
from written import archive, saved

from registry.checkpoints.opening import open_checkpoint
from registry.errors import (
    DamagedCheckpoint,
    EmptyCheckpoint,
    NoSuchCheckpoint,
    NotACheckpoint,
    PickledModule,
    RegistryError,
    TorchScriptArchive,
    UnopenableCheckpoint,
    UnstorableTensor,
)
from registry.inspection import Question, examine


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        file.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (bytes(5000), "zeros"),
        (b"epoch,loss\n1,0.5\n" * 300, "a text file"),
        ("größer als 4096 " * 400, "a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs"),
        (b"<!DOCTYPE html><html>Log in</html>", "web page"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (tar(), "tar archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "Keras"),
        (b"\x93NUMPY\x01\x00" + bytes(100), "numpy"),
        (b"\x08\x03\x12\x07pytorch" + bytes(range(256)), "ONNX"),
        (pickle.dumps({"a": 1}), "plain Python pickle"),
        (bytes(range(255, 0, -1)) * 9, "no format that is known"),
        (b"{" * 5000, "a text file"),
        (b"\x80", "a text file"),
        ("models/größe".encode("latin-1")[:-1], "a text file"),
    ],
)
def test_what_a_file_is_instead_is_said(tmp_path, content, words):
    path = tmp_path / "a.pth"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(NotACheckpoint, match=words):
        open_checkpoint(path)


def test_a_path_that_leads_nowhere(tmp_path):
    for path in (tmp_path / "nowhere.pth", tmp_path / ("x" * 300), f"{tmp_path}/a\0b", __file__ + "/below"):
        with pytest.raises((NoSuchCheckpoint, UnopenableCheckpoint)):
            open_checkpoint(path)


def test_pipes_devices_and_loops_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "loop.pth").symlink_to("loop.pth")
    for path in (tmp_path / "pipe.pth", "/dev/zero", "/dev/stdin", tmp_path / "loop.pth"):
        with pytest.raises((NotACheckpoint, UnopenableCheckpoint)):
            open_checkpoint(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = saved(tmp_path / "a.pth", {"w": torch.zeros(1)})
    path.chmod(0)
    with pytest.raises(UnopenableCheckpoint, match="permission denied"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "an empty dict"),
        ({"epoch": 3, "note": "x"}, "the keys 'epoch', 'note'"),
        ([torch.zeros(1)] * 3, "a list of 3"),
        (torch.zeros(3), "one tensor without a name"),
        (7, "of type int"),
        ({0: torch.zeros(1)}, "the key 0 is not text"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(tmp_path, value, words):
    with pytest.raises(EmptyCheckpoint, match="no tensors") as refusal:
        open_checkpoint(saved(tmp_path / "a.pth", value))
    assert words in str(refusal.value)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_pickled_module_is_refused_with_the_lines_that_convert_it(tmp_path, is_zip):
    for value in (torch.nn.Linear(2, 2), {"model": torch.nn.Linear(2, 2), "epoch": 3}):
        with pytest.raises(PickledModule, match=r"torch\.nn\.modules\.linear\.Linear") as refusal:
            examine(saved(tmp_path / "a.pth", value, _use_new_zipfile_serialization=is_zip), Question())
        assert "weights_only=False" in str(refusal.value) and "model.state_dict()" in str(refusal.value)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_refused_with_the_lines_that_convert_it(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "a.pt")
    with pytest.raises(TorchScriptArchive, match=r"torch\.jit\.load"):
        open_checkpoint(tmp_path / "a.pt")


def test_an_archive_with_two_members_of_one_name_is_refused(tmp_path):
    path = archive(tmp_path / "a.pth", pickle.dumps({}, 2))
    with pytest.warns(UserWarning), zipfile.ZipFile(path, "a") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"x": 1}, 2))
    with pytest.raises(DamagedCheckpoint, match="twice"):
        open_checkpoint(path)


@pytest.mark.parametrize("before", [{"w": torch.zeros(3)}, {"w": torch.zeros(300)}])
def test_an_archive_behind_another_is_refused(tmp_path, before):
    with (tmp_path / "a.pth").open("wb") as file:
        torch.save(before, file)
        torch.save({"w": torch.ones(3)}, file)
    with pytest.raises(NotACheckpoint, match="one checkpoint was appended to another; save each"):
        open_checkpoint(tmp_path / "a.pth")


def test_an_archive_with_a_member_inside_of_another_is_refused(tmp_path):
    inner = b"PK\x03\x04" + bytes(14) + struct.pack("<IIHH", 4, 4, 14, 0) + b"archive/data/1" + b"body"
    path = archive(tmp_path / "a.pth", pickle.dumps({}, 2), {"data/0": inner, "data/1": b"body"})
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, content.index(b"archive/data/1", directory) - 4, content.index(inner))
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match="overlaps"):
        open_checkpoint(path)


@pytest.mark.parametrize("field", [16, 20, 24, 42], ids=["crc", "compressed size", "size", "offset"])
@pytest.mark.parametrize("number", [0, 1, 100, 0x7FFFFFFF, 0xFFFFFFFE])
def test_a_directory_that_lies_about_a_member_is_refused(tmp_path, field, number):
    path = saved(tmp_path / "a.pth", {"w": torch.ones(100)})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    while b"data/0" not in content[entry + 46 : entry + 60]:
        entry = content.index(b"PK\x01\x02", entry + 1)
    struct.pack_into("<I", content, entry + field, number)
    path.write_bytes(content)
    if (field, number) == (16, 0):
        pytest.skip("a CRC of zero stands for one that was not written")
    with pytest.raises(DamagedCheckpoint):
        open_checkpoint(path).weight_sets[0].tensors["w"].buffer()


def safetensors(path, header: object, body: bytes = b"", length: int | None = None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + body)
    return path


def entry(begin: int, end: int, dtype: str = "F32", shape: object = None) -> dict[str, object]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "nbytes"),
    [
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12),
        ({"a": entry(0, 8), "b": entry(12, 16)}, 16),
        ({"a": entry(4, 8)}, 8),
        ({"a": entry(0, 8)}, 12),
        ({"a": entry(0, 8)}, 4),
        ({"a": entry(0, 8, shape=[3])}, 8),
        ({"a": entry(0, 8, shape=[-2])}, 8),
        ({"a": entry(0, 8, shape=[1 << 61, 8, 1 << 3])}, 8),
        ({"a": entry(0, 8, shape=[2.0])}, 8),
        ({"a": entry(0, 8, shape=[True, 2])}, 8),
        ({"a": entry(0, 8, dtype="F33")}, 8),
        ({"a": entry(0, 8, dtype=wrong([]))}, 8),
        ({"a": entry(8, 0)}, 8),
        ({"a": {**entry(0, 8), "more": 1}}, 8),
        ({"a": 3}, 0),
        ({"__metadata__": {"a": 1}}, 0),
        ({"\ud800": entry(0, 8)}, 8),
        (b'{"a":%b,"a":%b}' % ((b'{"dtype":"F32","shape":[2],"data_offsets":[0,8]}',) * 2), 8),
        (b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 0),
        (b'{"a":' + b"9" * 100_000 + b"}", 0),
        (b"{not json}", 0),
        (b'{"a":"\xff"}', 0),
    ],
)  # fmt: skip
def test_a_safetensors_header_that_is_not_exact_is_refused(tmp_path, header, nbytes):
    with pytest.raises(DamagedCheckpoint):
        open_checkpoint(safetensors(tmp_path / "a.safetensors", header, bytes(nbytes)))


def test_a_safetensors_header_longer_than_the_file_is_refused(tmp_path):
    with pytest.raises(DamagedCheckpoint, match="claims"):
        open_checkpoint(safetensors(tmp_path / "a.safetensors", {"a": entry(0, 4)}, bytes(4), length=90_000_000))
    with pytest.raises(NotACheckpoint):
        open_checkpoint(safetensors(tmp_path / "a.safetensors", {"a": entry(0, 4)}, bytes(4), length=1 << 62))


def test_safetensors_dtypes_below_a_byte_are_refused_by_name(tmp_path):
    with pytest.raises(UnstorableTensor, match="'a' is of dtype F4"):
        open_checkpoint(safetensors(tmp_path / "a.safetensors", {"a": entry(0, 4, dtype="F4", shape=[8])}, bytes(4)))


def test_every_prefix_of_a_safetensors_file_is_refused(tmp_path):
    save_file({"w": torch.zeros(10)}, tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "b.safetensors").write_bytes(whole[:length])
        with pytest.raises(RegistryError):
            open_checkpoint(tmp_path / "b.safetensors")
