"""Whatever a file describes costs in proportion to its bytes: time, memory, and what is written of it."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from invocation import Said, run
from ranks import Ranks
from written import saved

from registry import Registry
from registry.checkpoints.opening import open_checkpoint
from registry.errors import OversizedCheckpoint, RegistryError, UnencodableValue
from registry.tensors.safetensors import BadHeader, read_header, read_table


def doubled(kind: str, levels: int = 28) -> object:
    """A value of some hundred bytes that unfolds to hundreds of millions."""
    value: object = ["lol"]
    for _ in range(levels):
        if kind == "list":
            value = [value, value]
        elif kind == "tuple":
            value = (value, value)
        elif kind == "dict":
            value = {"a": value, "b": value}
        elif kind == "ordered":
            value = OrderedDict(a=value, b=value)
    return value


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def itself() -> list[object]:
    value: list[object] = [1]
    value += [value, value]
    return value


BOMBS: dict[str, Callable[[], object]] = {
    **{kind: partial(doubled, kind) for kind in ("list", "tuple", "dict", "ordered")},
    "deep": lambda: deep(150),
    "itself": itself,
    "one text": lambda: ["x" * 1_000_000] * 2_000,
    "one key": lambda: [{"k" * 1_000_000: [1] * 1000}] * 3_000,
    "a long key above many": lambda: {"k" * 1_000_000: list(range(300_000))},
    "a long integer": lambda: 1 << 4000,
}


def in_a_state(state: OrderedDict[str, torch.Tensor], value: object) -> dict[str, object]:
    entry = {"step": torch.tensor(1.0), "more": value}
    return {"state_dict": state, "optimizer": {"state": {0: entry}, "param_groups": [{"params": [0], "lr": value}]}}


def in_the_metadata(state: Any, value: object) -> Any:
    state._metadata = {"": {"version": 1, "more": value}}
    return state


PLACES: dict[str, Callable[[Any, object], Any]] = {
    "metadata": in_the_metadata,
    "training": in_a_state,
    "init": lambda state, value: {"state_dict": state, "hyper_parameters": {"a": value}},
    "beside": lambda state, value: {"state_dict": state, "epoch": 1, "notes": value},
    "extra state": lambda state, value: OrderedDict({**state, "_extra_state": value}),
}


def said(rank: int, home: Path, *commands: list[str]) -> list[Said]:
    return [run(*command, home=home, expect=None) for command in commands]


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("place", PLACES)
def test_what_unfolds_is_refused_or_stored_and_never_endless(
    ranks: Ranks, tmp_path: Path, place: str, bomb: str
) -> None:
    path = saved(tmp_path / "a.pth", PLACES[place](OrderedDict(weight=torch.ones(2, 2)), BOMBS[bomb]()))
    commands = [["push", str(path), "m"], *([["inspect", str(path), "--json"]] if place == "init" else [])]
    # In a process that can be ended: what is endless has to fail here, and not to stop the tests.
    [answers] = ranks.run(said, tmp_path / "home", *commands, world=1, seconds=60)
    for answer in answers:
        assert answer.code in (0, 1) and "Traceback" not in answer.stderr, answer.stderr[-500:]


def test_a_value_that_unfolds_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(OversizedCheckpoint, match="unfolds to more than"):
        open_checkpoint(saved(tmp_path / "a.pth", {"w": torch.ones(2), "x": doubled("dict")}))


def test_metadata_that_is_plain_data_comes_back(tmp_path: Path) -> None:
    state: Any = OrderedDict(w=torch.ones(2, 2))
    state._metadata = OrderedDict({"": {"version": 2, "more": (1, {2}, b"x", {(1, 2): 3.5}, None)}})
    hub = Registry(tmp_path / "home")
    hub.push(saved(tmp_path / "a.pth", state), "m")
    hub.export("m", tmp_path / "b.pth", format="pth")
    exported = torch.load(tmp_path / "b.pth", weights_only=False)
    assert exported._metadata == state._metadata
    assert hub.audit().is_clean


def test_metadata_that_is_no_plain_data_is_named(tmp_path: Path) -> None:
    state: Any = OrderedDict(w=torch.ones(2, 2))
    state._metadata = {"a": {"version": io.StringIO("x")}}
    with pytest.raises(UnencodableValue, match="_metadata of 'a'"):
        Registry(tmp_path / "home").push(saved(tmp_path / "a.pth", state), "m")


NUMBERS = {
    "integers": lambda n: n * 65536 % (1 << 31),
    "floats": lambda n: n + 0.5,
    "tuples": lambda n: (n,),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_table_of_many_numbers_beside_the_weights_is_named_and_not_kept(tmp_path: Path, kind: str) -> None:
    table = {NUMBERS[kind](number): None for number in range(25_000)}
    checkpoint = open_checkpoint(saved(tmp_path / "a.pth", {"state_dict": {"w": torch.ones(2)}, "t": table}))
    assert list(checkpoint.weight_sets[0].tensors) == ["w"]
    assert any("20000 numbers" in note for note in checkpoint.notes)


def test_a_table_of_many_numbers_in_a_row_is_kept(tmp_path: Path) -> None:
    table = {number: str(number) for number in range(50_000)}
    checkpoint = open_checkpoint(saved(tmp_path / "a.pth", {"state_dict": {"w": torch.ones(2)}, "ids": table}))
    assert checkpoint.training["ids"] == table and checkpoint.notes == ()


HEADERS = {
    "lists": b'{"a":[' + b"[]," * 2_000_000 + b"[]]}",
    "lists in an entry": b'{"a":{"dtype":"F32","shape":[' + b"[]," * 2_000_000 + b'[]],"data_offsets":[0,0]}}',
    "numbers": b'{"a":[' + b"300," * 1_500_000 + b"1]}",
    "objects": b'{"__metadata__":{"a":' + b'{"a":' * 800_000 + b"1" + b"}" * 800_000 + b"}}",
    "deep": b"[" * 6_000_000,
    "texts": b'{"__metadata__":{' + b",".join(b'"%x":""' % n for n in range(600_000)) + b"}}",
    "a long integer": b'{"a":{"dtype":"F32","shape":[' + b"9" * 6_000_000 + b'],"data_offsets":[0,0]}}',
}


def peak_of(path: Path) -> tuple[int, str]:
    program = (
        "import re, sys; from registry.checkpoints.opening import open_checkpoint\n"
        "from registry.errors import RegistryError\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) << 10\n"
        "before = peak()\n"
        "try: open_checkpoint(sys.argv[1]); end = 'read'\n"
        "except RegistryError: end = 'refused'\n"
        "print(peak() - before, end)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-500:]
    nbytes, end = done.stdout.split()
    return int(nbytes), end


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_takes_little_more_memory_than_its_bytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(HEADERS[name])) + HEADERS[name])
    nbytes, end = peak_of(path)
    assert end == "refused" and nbytes < 10 * path.stat().st_size


def test_an_index_takes_little_more_memory_than_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(b'{"metadata":[' + b"[]," * 3_000_000 + b'[]],"weight_map":{"a":"b.safetensors"}}')
    nbytes, end = peak_of(path)
    assert end == "refused" and nbytes < 10 * path.stat().st_size


def test_an_archive_of_very_many_members_is_refused_before_they_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    count = 400_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, count * len(entry), 4, 0)
    path.write_bytes(b"PK\x03\x04" + entry * count + end)
    nbytes, finished = peak_of(path)
    assert finished == "refused" and nbytes < 10 * path.stat().st_size


def test_a_deflated_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(100_000_000))
    with pytest.raises(RegistryError, match="inflates"):
        open_checkpoint(tmp_path / "a.pth")


def test_two_elements_far_apart_may_not_have_a_storage_read_for_each_of_them(tmp_path: Path) -> None:
    storage = torch.zeros(1 << 20)
    views = {f"v{n}": storage.as_strided((2,), ((1 << 20) - 1 - n,)) for n in range(2_000)}
    with pytest.raises(OversizedCheckpoint, match="claim"):
        open_checkpoint(saved(tmp_path / "a.pth", views))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
)


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), st.text())), st.integers(0, 3))
def test_a_table_is_read_as_json_reads_it(tables: dict[str, dict[str, str]], indent: int) -> None:
    content = json.dumps(tables, indent=indent or None, ensure_ascii=bool(indent % 2)).encode("utf-8", "surrogatepass")
    for name, table in tables.items():
        try:
            assert read_table(content, name) == table
        except BadHeader as fault:
            assert "Unicode" in str(fault) or "not JSON" in str(fault)


@given(JSON)
def test_a_header_that_is_none_is_refused_and_nothing_else_is_raised(value: object) -> None:
    content = json.dumps({"a": value}).encode()
    with pytest.raises(BadHeader):
        read_header(content)
    assert read_table(content, "b") is None


@given(st.binary(max_size=60), st.integers(0, 60))
def test_a_damaged_header_is_refused_and_nothing_else_is_raised(noise: bytes, at: int) -> None:
    content = b'{"__metadata__":{"a":"b"},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    for reader in (read_header, lambda raw: read_table(raw, "__metadata__")):
        with contextlib.suppress(BadHeader):
            reader(content[:at] + noise + content[at + len(noise) :])
