"""A push stores what it hashed, whoever writes to the source meanwhile; or it says so and stores nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from blake3 import blake3
from contents import is_empty
from safetensors.torch import save_file
from torch import nn

from registry import Registry
from registry.checkpoints.opening import open_checkpoint
from registry.errors import ChangedCheckpoint, RegistryError
from registry.loading.counterparts import open_file
from registry.modules import live


def state(value: float = 0.0, tensors: int = 6) -> dict[str, torch.Tensor]:
    return {f"w{number}": torch.full((300, 1024), value + number) for number in range(tensors)}


FORMATS: dict[str, Callable[[dict[str, torch.Tensor], Path], object]] = {
    "a.pth": lambda value, path: torch.save(value, path),
    "b.pth": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    "c.safetensors": lambda value, path: save_file(value, path),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_cut_short_while_it_is_read_is_an_error_and_kills_nobody(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FORMATS[name](state(), path)
    tensors = open_checkpoint(path).weight_sets[0].tensors
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ChangedCheckpoint):
        for tensor in tensors.values():
            tensor.buffer()
    with pytest.raises(ChangedCheckpoint):
        for tensor in tensors.values():
            list(tensor.pieces())


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("how", ["cut", "written anew", "overwritten"])
def test_a_file_that_changes_during_its_push_is_not_stored(tmp_path: Path, name: str, how: str) -> None:
    hub, path = Registry(tmp_path / "home"), tmp_path / name
    FORMATS[name](state(), path)

    def change(done: int, total: int) -> None:
        if how == "cut":
            os.truncate(path, 100)
        elif how == "written anew":  # in place; safetensors' own writer puts another file there
            FORMATS[name](state(1.0), path.with_name("new"))
            path.write_bytes(path.with_name("new").read_bytes())
        else:
            with path.open("r+b") as file:
                file.seek(-100, os.SEEK_END)
                file.write(b"x" * 100)

    with pytest.raises(ChangedCheckpoint):
        hub.push(path, "m", progress=change)
    assert is_empty(hub) and hub.audit().is_clean
    assert list(hub.home.glob("tmp/*")) == []


def test_a_file_that_is_replaced_during_its_push_is_stored_as_it_was_opened(tmp_path: Path) -> None:
    hub, path, new = Registry(tmp_path / "home"), tmp_path / "a.pth", tmp_path / "new.pth"
    torch.save(state(0.0), path)
    torch.save(state(1.0), new)
    opened = f"blake3:{blake3(path.read_bytes()).hexdigest()}"
    entry = hub.push(path, "m", progress=lambda done, total: new.exists() and new.replace(path))
    assert entry.source_digest == opened and torch.equal(hub.state_dict("m")["w0"], state()["w0"])


def test_a_model_that_another_thread_trains_is_stored_so_that_it_loads(tmp_path: Path) -> None:
    hub, model = Registry(tmp_path / "home"), nn.Sequential(*(nn.Linear(700, 700) for _ in range(4)))
    stop: list[object] = []

    def train() -> None:
        with torch.no_grad():
            while not stop:
                for parameter in model.parameters():
                    parameter.add_(1e-3)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        for _ in range(4):
            hub.push(model, "m", force_new=True)
    finally:
        stop.append(True)
        thread.join()
    for entry in hub.list():
        hub.state_dict(entry.ref)
    assert {fault.kind for fault in hub.audit().faults} <= {"class"}  # its constructor's arguments are not known


@pytest.mark.parametrize("small", [True, False])
def test_equal_tensors_of_which_one_changes_between_hashing_and_writing_stay_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    from registry.blobs import writer

    monkeypatch.setattr(writer, "SMALL", 1 << 40 if small else 0)
    monkeypatch.setattr(writer, "NOTHING", 1 << 40)
    hub = Registry(tmp_path / "home")
    tensors = {name: torch.zeros(600, 1024) for name in "abc"}
    read = live.LiveTensor.pieces

    def pieces(self: live.LiveTensor, *, own: bool = True) -> object:
        if own:  # what a training does when the first one is about to be written
            tensors["a"].fill_(1.0)
        return read(self, own=own)

    monkeypatch.setattr(live.LiveTensor, "pieces", pieces)
    hub.push(tensors, "m")
    stored = hub.state_dict("m")
    assert torch.equal(stored["b"], torch.zeros(600, 1024)) and torch.equal(stored["c"], torch.zeros(600, 1024))
    assert stored["a"].unique().tolist() in ([0.0], [1.0])
    assert hub.audit().is_clean


def test_more_files_than_may_be_open_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    from registry.checkpoints.mapping import OpenedFile

    monkeypatch.setattr(OpenedFile, "_held", 10_000)
    hub, folder = Registry(tmp_path / "home"), tmp_path / "model"
    folder.mkdir()
    names = {f"w{n}": f"model-{n:05d}-of-00012.safetensors" for n in range(1, 13)}
    for name, file in names.items():
        save_file({name: torch.full((2, 2), float(name[1:]))}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"x": [{}]}, "weight_map": names}))
    hub.push(folder, "m")
    assert hub.state_dict("m")["w7"][0, 0] == 7
    checkpoint = open_checkpoint(folder)
    save_file({"w3": torch.zeros(2, 2)}, folder / names["w3"])
    with pytest.raises(RegistryError, match="changed"):
        checkpoint.weight_sets[0].tensors["w3"].buffer()


@pytest.mark.parametrize("how", ["rewritten", "cut short", "deleted"])
def test_a_folder_that_changes_during_its_check_is_not_judged(tmp_path: Path, how: str) -> None:
    weights = tmp_path / "model.safetensors"
    save_file({"a.weight": torch.ones(64, 64)}, weights)
    stored = open_file(tmp_path if how != "deleted" else weights, None)
    stored.side(None)
    if how == "rewritten":
        with weights.open("r+b") as file:
            file.seek(-4, 2)
            file.write(b"else")
    elif how == "cut short":
        os.truncate(weights, weights.stat().st_size - 8)
    else:
        weights.unlink()
    with pytest.raises(ChangedCheckpoint):
        stored.confirm()
