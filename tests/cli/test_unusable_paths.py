"""A path that leads to nothing readable: one sentence from every verb, no wait, and no traceback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from invocation import COMMAND, run
from torch import nn

from registry import Registry
from registry.errors import CannotExport, HomeUnusable, MissingShard, RegistryError, UnopenableCheckpoint

LONG = "x" * 300


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with every kind of thing that is no file to read."""
    monkeypatch.chdir(tmp_path)
    torch.save(nn.Linear(3, 2).state_dict(), "sound.pth")
    Path("one.pth").symlink_to("other.pth")
    Path("other.pth").symlink_to("one.pth")
    os.mkfifo("pipe.pth")
    Path("folder.pth").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.pth")
        yield tmp_path


@pytest.fixture
def hub(folder: Path) -> Registry:
    hub = Registry(folder / "home")
    hub.push("sound.pth", "net", model="torch.nn:Linear", init={"in_features": 3, "out_features": 2})
    return hub


UNREADABLE = [
    f"./{LONG}.pth",
    f"./{LONG}/a.pth",
    "./one.pth",
    "./one.pth/a.pth",
    "./sound.pth/a.pth",
    "./nothing.pth",
    "./pipe.pth",
    "./socket.pth",
    "./folder.pth",
    "./zero\0.pth",
    "./surrogate\udcff.pth",
    "./surrogate\ud800.pth",
    "/dev/null",
    "~nobody-is-called-so/a.pth",
]
READING: dict[str, Callable[[Registry, str], object]] = {
    "push": lambda hub, path: hub.push(path, "other"),
    "inspect": lambda hub, path: hub.inspect(path),
    "check of a module": lambda hub, path: hub.check(nn.Linear(3, 2), path),
    "check by a PathLike": lambda hub, path: hub.check("net", Path(path)),
    "check of a file": lambda hub, path: hub.check(path, "net"),
    "audit with a source": lambda hub, path: hub.audit(repair=True, sources=[path]),
}


@pytest.mark.parametrize("path", UNREADABLE, ids=lambda path: ascii(path)[:24])
@pytest.mark.parametrize("verb", READING.values(), ids=READING.keys())
def test_what_cannot_be_read_is_refused_in_one_sentence(
    hub: Registry, verb: Callable[[Registry, str], object], path: str
) -> None:
    with pytest.raises(RegistryError) as refused:
        verb(hub, path)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("out", [f"{LONG}.pth", f"{LONG}/a.pth", "one.pth/a.pth", "sound.pth/a.pth", "zero\0.pth"])
def test_what_cannot_be_written_is_refused_in_one_sentence(hub: Registry, out: str) -> None:
    with pytest.raises(RegistryError) as refused:
        hub.export("net", out)
    assert len(str(refused.value).splitlines()) == 1


def test_a_name_that_is_too_long_to_export_to_is_not_a_full_disk(hub: Registry) -> None:
    with pytest.raises(CannotExport, match="shorter name") as refused:
        hub.export("net", f"{LONG}.pth")
    assert "free some space" not in str(refused.value)


def test_an_export_may_have_the_longest_name_there_is(hub: Registry) -> None:
    longest = f"{'x' * 251}.pth"
    assert hub.export("net", longest).is_file()


def test_a_shard_with_an_impossible_name_is_refused(hub: Registry) -> None:
    Path("model.safetensors.index.json").write_text(json.dumps({"weight_map": {"weight": f"{LONG}.safetensors"}}))
    with pytest.raises(UnopenableCheckpoint, match="too long"):
        hub.push("model.safetensors.index.json", "sharded")


def test_a_shard_that_is_not_there_is_missing(hub: Registry) -> None:
    Path("model.safetensors.index.json").write_text(json.dumps({"weight_map": {"weight": "gone.safetensors"}}))
    with pytest.raises(MissingShard):
        hub.push("model.safetensors.index.json", "sharded")


@pytest.mark.parametrize("home", ["one.pth", "one.pth/home", "~nobody-is-called-so/home", LONG, "sound.pth/home"])
def test_a_home_that_no_folder_can_be_is_unusable(folder: Path, home: str) -> None:
    with pytest.raises(HomeUnusable):
        Registry(home).push("sound.pth", "net")


def test_a_model_name_longer_than_a_file_name_is_one_sentence(folder: Path) -> None:
    assert run("push", "sound.pth", LONG, home=folder / "home", expect=1).stderr.startswith("registry: ")


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, 10**30])
def test_a_seed_of_more_than_64_bits_is_one_sentence(folder: Path, seed: int) -> None:
    example = ["--example-shape", "1,3", f"--seed={seed}"]
    said = run("push", "sound.pth", "net", *example, home=folder / "home", expect=1).stderr
    assert "64 bits" in said
    assert "--seed" in said


@pytest.mark.parametrize("path", ["pipe.pth", "socket.pth", "folder.pth", f"{LONG}.safetensors", "one.pth"])
def test_an_example_that_cannot_be_read_is_one_sentence(folder: Path, path: str) -> None:
    said = run("push", "sound.pth", "net", "--example", path, home=folder / "home", expect=1).stderr
    assert said.startswith("registry: the example cannot be used")


@pytest.mark.parametrize("arguments", [("push", "/dev/stdin", "net"), ("audit", "--repair", "--source", "/dev/stdin")])
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(hub: Registry, arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    environment = os.environ | {"REGISTRY_HOME": str(hub.home)}
    done = subprocess.run([*COMMAND, *arguments], stdin=reading, env=environment, capture_output=True, text=True)
    os.close(reading)
    os.close(writing)
    assert done.returncode == 1
    assert "named pipe" in done.stderr
