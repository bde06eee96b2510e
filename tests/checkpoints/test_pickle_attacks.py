"""Whatever its instructions, a pickle runs nothing, and takes bounded time and memory."""

from __future__ import annotations

import contextlib
import copyreg
import io
import pickle
import pickletools
import resource
import struct
import subprocess
import sys
import time

import pytest
import torch
from written import archive, saved

from registry.checkpoints.opening import open_checkpoint
from registry.errors import DamagedCheckpoint, ForeignObjects, OversizedCheckpoint, RegistryError


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def canaries(command: str) -> dict[str, bytes]:
    """Pickles of a dict whose value runs ``command``, one for each way that pickle has of calling something."""
    call = text(command) + pickle.TUPLE1
    system = b"cposix\nsystem\n"
    popen = b"csubprocess\nPopen\n"
    shell = pickle.EMPTY_DICT + text("shell") + pickle.NEWTRUE + pickle.SETITEM
    inner = b"\x80\x02" + system + call + b"R."
    state = pickle.EMPTY_DICT + text("__setstate__") + system + pickle.SETITEM
    return {
        "reduce": system + call + b"R",
        "stack_global": text("os") + text("system") + pickle.STACK_GLOBAL + call + b"R",
        "dotted": text("os") + text("path.os.system") + pickle.STACK_GLOBAL + call + b"R",
        "inst": b"(" + text(command) + b"iposix\nsystem\n",
        "obj": b"(" + system + text(command) + b"o",
        "newobj": popen + call + pickle.NEWOBJ,
        "newobj_ex": popen + call + shell + pickle.NEWOBJ_EX,
        "exec": b"c__builtin__\nexec\n" + text(f"__import__('os').system({command!r})") + pickle.TUPLE1 + b"R",
        "getattr": b"cbuiltins\ngetattr\n" + b"cos\n__dict__\n" + text("system") + pickle.TUPLE2 + b"R" + call + b"R",
        "apply": b"cfunctools\npartial\n" + system + text(command) + pickle.TUPLE2 + b"R)R",
        "map": b"cbuiltins\nlist\ncbuiltins\nmap\n" + system + b"]" + text(command) + b"a" + b"\x86R\x85R",
        "reconstructor": b"ccopy_reg\n_reconstructor\n" + popen + system + call + pickle.TUPLE3 + b"R",
        "setstate": b"ccollections\nOrderedDict\n)R" + state + b"b" + text(command) + b"b",
        "slots": b"ccollections\nOrderedDict\n)RN" + state + b"\x86b",
        "nested pickle": b"c_pickle\nloads\n" + pickle.BINBYTES + struct.pack("<I", len(inner)) + inner + b"\x85R",
        "nested torch": b"ctorch.storage\n_load_from_bytes\n" + pickle.BINBYTES + struct.pack("<I", len(inner)) + inner
        + b"\x85R",
        "set item": b"cbuiltins\nglobals\n)R" + text("open") + system + b"s",
        "append": b"ccollections\ndeque\n)R" + system + call + b"Ra",
        "extension": b"\x82\xf0" + call + b"R",
    }  # fmt: skip


@pytest.mark.parametrize("place", ["beside", "inside", "alone"])
@pytest.mark.parametrize("way", sorted(canaries("")))
def test_nothing_is_run(tmp_path, way, place):
    copyreg.add_extension("os", "system", 0xF0)
    try:
        check_canary(tmp_path, way, place)
    finally:
        copyreg.remove_extension("os", "system", 0xF0)


def check_canary(tmp_path, way, place):
    fired = tmp_path / "fired"
    attack = canaries(f"touch {fired}")[way]
    tensor = tensor_pickle()
    body = {
        "beside": b"}" + text("state_dict") + b"}" + text("w") + tensor + b"s" + b"s" + text("x") + attack + b"s",
        "inside": b"}" + text("w") + tensor + b"s" + text("x") + attack + b"s",
        "alone": attack,
    }[place]
    path = archive(tmp_path / "a.pth", b"\x80\x04" + body + b".", {"data/0": bytes(12)})
    legacy = tmp_path / "b.pth"
    legacy.write_bytes(legacy_file(b"\x80\x04" + body + b"."))
    for file in (path, legacy):
        try:
            checkpoint = open_checkpoint(file)
            assert list(checkpoint.weight_sets[0].tensors) == ["w"]
            bytes(checkpoint.weight_sets[0].tensors["w"].buffer())
        except RegistryError:
            pass
    assert not fired.exists()


def test_the_canary_would_sing(tmp_path):
    for way in ("reduce", "inst", "obj", "exec"):
        pickle.loads(b"\x80\x02" + canaries(f"touch {tmp_path / way}")[way] + b".")
        assert (tmp_path / way).exists()


def tensor_pickle() -> bytes:
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x03tQ"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"K\x00K\x03\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    )


def legacy_file(pickled: bytes) -> bytes:
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    return head + pickled + pickle.dumps(["0"], 2) + struct.pack("<q", 3) + bytes(12)


def test_an_object_beside_the_weights_leaves_them_readable_and_is_named(tmp_path):
    path = saved(tmp_path / "a.pth", {"state_dict": {"w": torch.zeros(2)}, "logger": io.StringIO("x")})
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.weight_sets[0].tensors) == ["w"]
    assert any("_io.StringIO" in note for note in checkpoint.notes)


def test_an_object_among_the_weights_is_refused_and_named(tmp_path):
    with pytest.raises(ForeignObjects, match=r"_io\.StringIO.* at 'logger' among the weights"):
        open_checkpoint(saved(tmp_path / "a.pth", {"w": torch.zeros(2), "v": torch.zeros(2), "logger": io.StringIO()}))


def many(instruction: bytes, count: int, end: bytes = b".") -> bytes:
    return b"\x80\x04" + instruction * count + end


DOUBLED = b"](" + text("lol") + b"e" + b"".join(b"q%c0h%ch%c\x86" % (n, n, n) for n in range(20, 48))
"""A value of some hundred bytes whose text has some hundred millions."""

BOMBS = {
    "lists": many(b"]", 10_000_000),
    "sets": many(b"\x8f", 10_000_000),
    "marks": many(b"(", 10_000_000),
    "memo": many(b"N\x94", 4_500_000),
    "memo index": b"\x80\x04Nr\xff\xff\xff\xffN.",
    "nested tuples": many(b"\x85", 1_000_000).replace(b"\x80\x04", b"\x80\x04N"),
    "nested lists": b"\x80\x04" + b"]" * 500_000 + b"a" * 499_999 + b".",
    "doubling": b"\x80\x04]" + b"q\x00]h\x00ah\x00a" * 200_000 + b".",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b".",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
    "long": b"\x80\x02\x8b" + struct.pack("<I", 9_000_000) + b"\x7f" * 9_000_000 + b".",
    "decimal": b"L" + b"9" * 9_000_000 + b"L\n.",
    "short lines": b"I1\n" * 600_000 + b".",
    "copies of text": b"\x80\x02c_codecs\nencode\nq\x00" + text("a" * 4_000_000) + text("latin1") + b"\x86q\x01"
    + b"0h\x00h\x01R" * 900_000 + b".",
    "copies of a list": b"\x80\x02cbuiltins\nset\nq\x00](" + b"K\x01" * 2_000_000 + b"e\x85q\x010"
    + b"h\x00h\x01R0" * 900_000 + b"N.",
    "colliding integers": b"\x80\x02}(" + b"".join(
        b"\x8a\x0a" + (n * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for n in range(1, 500_000)) + b"u.",
    "tuple keys": b"\x80\x02}(" + b"".join(
        b"J" + struct.pack("<i", n) + b"\x85N" for n in range(200_000)) + b"u.",
    "colliding places of the memo": b"\x80\x02" + b"".join(
        b"Np%d\n" % (n * ((1 << 61) - 1)) for n in range(1, 60_000)) + b".",
    "calls of calls": b"\x80\x04ca\nb\n" + b")R\x94" * 30_000 + b".",
    "calls inside of calls": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x000cx\ny\nq\x02)q\x03"
    + b"ctorch\nTensor\nq\x040(h\x02h\x04h\x03Ntq\x05"
    + b"0(h\x00h\x04h\x05Ntq\x05" * 300 + b"0" + b"h\x00h\x05R0" * 60_000 + b"N.",
    "many arguments": b"\x80\x02cbuiltins\nslice\nq\x000(" + b"N" * 1_000_000 + b"U\x01xtq\x01"
    + b"h\x00h\x01R0" * 60_000 + b"N.",
    "a set for many keys": b"\x80\x04}q\x00(" + b"".join(b"J" + struct.pack("<i", n) for n in range(200_000))
    + b"\x91q\x010h\x00" + b"h\x01Ns" * 60_000 + b".",
    "a long dtype": b"\x80\x02cnumpy\ndtype\nq\x00" + text("<" + "a" * 4_000_000) + b"\x85q\x01"
    + b"h\x00h\x01R" * 60_000 + b".",
    "long keys of a configuration": b"\x80\x02" + text("a" * 4_000_000) + b"q\x010}(" + b"".join(
        b"(" + b"h\x01" * 15 + text(str(n)) + b"tN" for n in range(3_000)) + b"uq\x000"
    + b"comegaconf.dictconfig\nDictConfig\n)R}" + text("_content") + b"h\x00sb.",
    **{f"the name of a {name}": b"\x80\x02c" + function + DOUBLED + arguments + b"R." for name, function, arguments in (
        ("device", b"torch\ndevice\n", b"\x85"),
        ("layout", b"torch.serialization\n_get_layout\n", b"\x85"),
        ("sparse tensor", b"torch._utils\n_rebuild_sparse_tensor\n", b"N\x86"),
        ("tensor's class", b"torch._utils\n_rebuild_wrapper_subclass\n", b"\x85"),
        ("dtype", b"torch._utils\n_rebuild_device_tensor_from_numpy\nN", b"\x86"),
    )},
    "nested keys": b"\x80\x02}K\x01" + b"\x85q\x00h\x00\x86" * 1000 + b"Ns.",
}  # fmt: skip


def wide(inner: bytes, count: int = 40_000) -> bytes:
    """A dict whose values are all the one object that ``inner`` makes."""
    return b"}(" + inner + b"q\x000" + b"".join(text(str(n)) + b"h\x00" for n in range(count)) + b"u"


def test_objects_that_are_referred_to_many_times_are_looked_at_once(tmp_path):
    tensor = tensor_pickle()
    containers = wide(wide(b"}" + text("w") + tensor + b"s").replace(b"q\x00", b"q\x01").replace(b"h\x00", b"h\x01"))
    values = wide(b"](" + b"]" * 300_000 + b"e") + text("w") + tensor + b"s"
    sets = b"}(" + b"".join(text(str(n)) + b"}" + text("w") + tensor + b"s" for n in range(5_000)) + b"u"
    began = time.monotonic()
    for pickled in (containers, values, sets):
        with contextlib.suppress(RegistryError):
            open_checkpoint(archive(tmp_path / "a.pth", b"\x80\x02" + pickled + b".", {"data/0": bytes(12)}))
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_is_refused_in_bounded_time_and_memory(tmp_path, name):
    path = archive(tmp_path / "a.pth", BOMBS[name])
    program = (
        "import sys, resource; from registry.checkpoints.opening import open_checkpoint\n"
        "from registry.errors import RegistryError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1_500 << 20, 1_500 << 20))\n"
        "try: open_checkpoint(sys.argv[1])\n"
        "except RegistryError: print('refused')\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "refused\n", done.stderr[-400:]
    assert time.monotonic() - began < 30
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1_500_000


def test_a_tensor_may_not_reach_beyond_its_storage(tmp_path):
    for offset, size, stride in [(1, 3, 1), (0, 4, 1), (0, 3, 2), (-1, 3, 1), (0, -3, 1), (0, 1 << 61, 1 << 61)]:
        numbers = [pickle.dumps(n, 2)[2:-1] for n in (offset, size, stride)]
        storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x03tQ"
        tensor = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"%b%b\x85%b\x85" % tuple(numbers) + b"tR"
        path = archive(tmp_path / "a.pth", b"\x80\x02}" + text("w") + tensor + b"s.", {"data/0": bytes(12)})
        with pytest.raises(DamagedCheckpoint):
            open_checkpoint(path)


def test_a_storage_of_another_size_than_its_member_is_refused(tmp_path):
    pickled = b"\x80\x02}" + text("w") + tensor_pickle() + b"s."
    with pytest.raises(DamagedCheckpoint, match="should have 12 bytes and has 8"):
        open_checkpoint(archive(tmp_path / "a.pth", pickled, {"data/0": bytes(8)}))


def test_a_tensor_expanded_out_of_proportion_is_refused(tmp_path):
    with pytest.raises(OversizedCheckpoint, match="claim"):
        open_checkpoint(saved(tmp_path / "a.pth", {"w": torch.zeros(1).expand(1 << 40)}))


def test_every_call_instruction_has_a_canary():
    calls = {"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "GLOBAL", "STACK_GLOBAL", "EXT1", "BUILD"}
    used = set()
    for attack in canaries("x").values():
        used |= {op.name for op, _, _ in pickletools.genops(attack + b".")}
    assert calls <= used
