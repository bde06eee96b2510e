"""What torch.save writes is read as it is, in each of its formats."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from datetime import date
from typing import Any

import pytest
import torch
from torch import nn
from written import archive, same, saved

from registry.checkpoints.opening import open_checkpoint
from registry.errors import DamagedCheckpoint, NotACheckpoint, ShardedTensors, UnstorableTensor

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
    torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
    torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz,
]  # fmt: skip


def weights(path):
    return open_checkpoint(path).weight_sets[0]


def test_an_archive_of_a_format_to_come_is_refused(tmp_path):
    path = saved(tmp_path / "a.pth", {"w": torch.ones(2)})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"11" if name.endswith("/version") else old.read(name))
    with pytest.raises(NotACheckpoint, match="format 11"):
        open_checkpoint(tmp_path / "b.pth")


def test_a_legacy_file_of_a_format_to_come_is_refused(tmp_path):
    path = saved(tmp_path / "a.pth", {"w": torch.ones(2)}, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert content.count(pickle.dumps(1001, protocol=2)) == 1
    (tmp_path / "b.pth").write_bytes(content.replace(pickle.dumps(1001, protocol=2), pickle.dumps(1002, protocol=2)))
    with pytest.raises(DamagedCheckpoint, match="unknown version of the format"):
        open_checkpoint(tmp_path / "b.pth")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_state_dict_is_read_from_every_format_and_protocol(tmp_path, protocol, is_zip):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    path = saved(
        tmp_path / "a.pth", module.state_dict(), pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip
    )
    found = weights(path)
    assert list(found.tensors) == list(module.state_dict())
    assert all(same(found.tensors[name], tensor) for name, tensor in module.state_dict().items())
    assert found.metadata["1"] == {"version": 2}


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_survives_with_scalars_and_nothing(tmp_path, dtype, is_zip):
    raw = torch.arange(64, dtype=torch.uint8)
    full = (raw % 2).to(torch.bool) if dtype is torch.bool else raw.view(dtype)
    sd = {"full": full, "scalar": full[3].clone(), "nothing": full[:0].clone().reshape(0, 4)}
    found = weights(saved(tmp_path / "a.pth", sd, _use_new_zipfile_serialization=is_zip))
    assert all(same(found.tensors[name], tensor) for name, tensor in sd.items())


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_views_are_read_by_value(tmp_path, is_zip):
    base = torch.randn(4, 6, 3, 5)
    sd = {
        "transposed": base.transpose(0, 3),
        "channels_last": base.to(memory_format=torch.channels_last),
        "every_second": base[:, ::2, 1],
        "expanded": torch.randn(1, 7).expand(9, 7),
        "bytes": torch.arange(12, dtype=torch.uint8).view(3, 4).T,
        "inner": base[1:3],
    }
    found = weights(saved(tmp_path / "a.pth", sd, _use_new_zipfile_serialization=is_zip))
    assert all(same(found.tensors[name], tensor) for name, tensor in sd.items())


def test_lazily_conjugated_and_negated_tensors_are_resolved(tmp_path):
    z = torch.randn(5, dtype=torch.complex64)
    sd = {"conj": z.conj(), "neg": torch._neg_view(torch.randn(4)), "plain": z}
    found = weights(saved(tmp_path / "a.pth", sd))
    assert all(same(found.tensors[name], tensor) for name, tensor in sd.items())


def test_the_values_of_a_tensor_are_in_memory_of_their_own(tmp_path):
    path = saved(tmp_path / "a.pth", {"w": torch.zeros(1000)})
    tensor = weights(path).tensors["w"]
    buffer = tensor.buffer()
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert bytes(buffer) == bytes(4000) and buffer.readonly and buffer.format == "B"


def test_tied_tensors_have_one_identity_and_others_their_own(tmp_path):
    one = torch.randn(3, 3)
    sd = {"a": one, "b": one, "as_row": one[:1].T.T, "same_row": one[0:1], "copy": one.clone(), "t": one.T}
    tensors = weights(saved(tmp_path / "a.pth", sd)).tensors
    assert tensors["a"].identity == tensors["b"].identity
    assert tensors["as_row"].identity == tensors["same_row"].identity
    assert len({tensors[name].identity for name in ("a", "as_row", "copy", "t")}) == 4


def test_overlaps_are_told(tmp_path):
    flat = torch.randn(10)
    checkpoint = open_checkpoint(saved(tmp_path / "a.pth", {"a": flat[:6], "b": flat[4:], "c": flat[:6]}))
    assert len(checkpoint.notes) == 1 and "'a' and 'b' overlap" in checkpoint.notes[0]


def test_a_parameter_and_its_attributes_are_a_tensor(tmp_path):
    parameter: Any = torch.nn.Parameter(torch.randn(3))
    parameter.no_decay = True
    assert same(weights(saved(tmp_path / "a.pth", {"w": parameter})).tensors["w"], parameter)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.eye(3).to_sparse(), "'w' is sparse (torch.sparse_coo) and cannot be stored; call .to_dense()"),
        (lambda: torch.eye(3).to_sparse_csr(), "sparse (torch.sparse_csr)"),
        (lambda: torch.zeros(3, dtype=torch.complex128), "complex128"),
        (lambda: torch.zeros(3, dtype=torch.complex32), "complex32"),
        (lambda: torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8), "quantized"),
        (lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "nested"),
        (lambda: torch.zeros(3, device="meta"), "meta device"),
    ],
)
def test_what_has_no_canonical_bytes_is_refused_by_name(tmp_path, make, words):
    with pytest.raises(UnstorableTensor) as refusal:
        open_checkpoint(saved(tmp_path / "a.pth", {"fine": torch.zeros(2), "w": make()}))
    assert words in str(refusal.value) and "'w'" in str(refusal.value)


def test_a_rank_s_part_of_a_sharded_model_is_refused_and_a_whole_one_is_read(tmp_path):
    program = (
        "import sys, torch, torch.distributed as dist\n"
        "from torch.testing._internal.distributed.fake_pg import FakeStore\n"
        "from torch.distributed.tensor import Shard, Replicate, distribute_tensor, init_device_mesh\n"
        "dist.init_process_group('fake', store=FakeStore(), rank=0, world_size=2)\n"
        "mesh = init_device_mesh('cpu', (2,))\n"
        "for kind in (Shard(0), Replicate()):\n"
        "    tensor = distribute_tensor(torch.arange(8.0), mesh, [kind])\n"
        "    torch.save({'w': tensor}, f'{sys.argv[1]}/{type(kind).__name__}.pth')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(ShardedTensors, match="'w' is a DTensor and holds only a part"):
        open_checkpoint(tmp_path / "Shard.pth")
    assert weights(tmp_path / "Replicate.pth").tensors["w"].spec.shape == (8,)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, is_zip):
    whole = saved(tmp_path / "a.pth", {"w": torch.randn(50)}, _use_new_zipfile_serialization=is_zip).read_bytes()
    for length in range(40, len(whole), 37):
        (tmp_path / "b.pth").write_bytes(whole[:length])
        with pytest.raises(DamagedCheckpoint):
            open_checkpoint(tmp_path / "b.pth")


def test_a_flipped_bit_in_a_storage_is_found_when_the_tensor_is_read(tmp_path):
    path = saved(tmp_path / "a.pth", {"w": torch.zeros(1000)})
    content = bytearray(path.read_bytes())
    content[content.index(bytes(4000)) + 2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match="checksum"):
        weights(path).tensors["w"].buffer()


def test_a_big_endian_file_gives_the_same_values(tmp_path):
    tensor = torch.randn(20)
    path = saved(tmp_path / "a.pth", {"w": tensor})
    with zipfile.ZipFile(path) as file:
        pickled = file.read("a/data.pkl")
    swapped = tensor.numpy().byteswap().tobytes()
    big = archive(tmp_path / "big.pth", pickled, {"byteorder": b"big", "data/0": swapped})
    assert same(weights(big).tensors["w"], tensor)


def test_an_ordered_dict_of_numbers_and_tensors_keeps_both(tmp_path):
    sd = OrderedDict(w=torch.zeros(3), temperature=0.07, _extra_state={"scale": torch.ones(2), "step": 3})
    found = weights(saved(tmp_path / "a.pth", sd))
    assert list(found.tensors) == ["w"]
    assert found.values["temperature"] == 0.07 and found.values["_extra_state"]["step"] == 3


def test_reading_needs_no_torch(tmp_path):
    path = saved(tmp_path / "a.pth", {"w": torch.zeros(3)})
    program = (
        "import sys; from registry.checkpoints.opening import open_checkpoint\n"
        "open_checkpoint(sys.argv[1]).weight_sets[0].tensors['w'].buffer()\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)]).returncode == 0


EMPTY = {
    "behind the end": torch.zeros(2, 0)[1:],
    "a corner": torch.zeros(3, 2)[3:, 1:],
    "conjugated": torch.zeros(2, 0, dtype=torch.complex64).conj(),
    "negated": torch.zeros(0, dtype=torch.complex64).conj().imag,
    "transposed": torch.zeros(4, 5)[4:].T,
    "strided": torch.ones(6)[6::2],
    "of half": torch.ones(3, dtype=torch.float16)[3:],
    "expanded": torch.ones(1).expand(0, 7, 1),
}


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize("name", EMPTY)
def test_a_view_of_no_elements_is_read_wherever_it_begins(tmp_path, name, options):
    found = weights(saved(tmp_path / "a.pth", {"e": EMPTY[name], "w": torch.ones(2, 2)}, **options)).tensors
    assert found["e"].spec.shape == tuple(EMPTY[name].shape) and bytes(found["e"].buffer()) == b""
    assert list(map(bytes, found["e"].pieces())) == [b""] and same(found["w"], torch.ones(2, 2))


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_whatever_a_dict_has_for_keys_damages_no_file(tmp_path, is_zip):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()  # its state has parameters for keys
    for beside in (optimizer, {((1, 2), 3): 1}, {(torch.float32, "x"): 1}, {date(2026, 11, 1): 0.3}, {1j: 0}):
        content = {"model": model.state_dict(), "beside": beside}
        path = saved(tmp_path / "a.pth", content, _use_new_zipfile_serialization=is_zip)
        assert set(weights(path).tensors) == {"weight", "bias"}
