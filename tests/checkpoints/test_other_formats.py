"""What is no checkpoint is called what it is, with one next step, by a push and by an import alike."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import subprocess
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from written import saved

from registry import Registry, errors

NET = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4)).eval()
STATE = NET.state_dict()


def whole() -> bytes:
    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    return buffer.getvalue()


def arrays() -> dict[str, numpy.ndarray]:
    return {name: tensor.numpy() for name, tensor in STATE.items()}


def zipped(members: dict[str, bytes]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(name, content)

    return write


def in_tar(mode: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
            member = tarfile.TarInfo("best.pth")
            member.size = len(whole())
            file.addfile(member, io.BytesIO(whole()))

    return write


def content(of: bytes | Callable[[], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(of if isinstance(of, bytes) else of())


def archive_of_arrays(path: Path) -> None:
    numpy.savez(path, allow_pickle=False, **arrays())


def compressed_arrays(path: Path) -> None:
    numpy.savez_compressed(path, allow_pickle=False, **arrays())


def exported(path: Path) -> None:
    torch.export.save(torch.export.export(NET, (torch.ones(2, 8),)), path)


def packaged(path: Path) -> None:
    with torch.package.PackageExporter(path) as file:
        file.extern("**")
        file.save_pickle("model", "model.pkl", NET)


def optimizer() -> dict[str, object]:
    made = torch.optim.Adam(NET.parameters())
    NET(torch.ones(4, 8)).sum().backward()
    made.step()
    return made.state_dict()


NOTHING = "no checkpoint"
NOISE = random.Random(1).randbytes(64) + b"\xff"
"""The same every time: now and then what is drawn begins as something does."""

KINDS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    # The name of the file: how it is made, what the sentence says, the verdict of an import.
    "a.npz": (archive_of_arrays, "archive of numpy's arrays; .*numpy.load", NOTHING),
    "b.npz": (compressed_arrays, "archive of numpy's arrays", NOTHING),
    "c.npy": (lambda path: numpy.save(path, arrays()["0.weight"]), "one array of numpy", NOTHING),
    "d.pt2": (exported, r"program that torch.export wrote.*torch\.export\.load", "refused"),
    "e.pth": (exported, r"program that torch.export wrote", "refused"),
    "f.pt": (packaged, "torch.package", "refused"),
    "g.zip": (
        zipped({"data": b"{}", "policy.optimizer.pth": b"", "policy.pth": b"", "_stable_baselines3_version": b"2"}),
        r"zip archive of stable-baselines3; unpack it and push .*\('policy.pth', 'policy.optimizer.pth'\)",
        "refused",
    ),
    "h.keras": (zipped({"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b""}), "Keras", NOTHING),
    "i.mar": (zipped({"MAR-INF/MANIFEST.json": b"{}", "net.pt": b""}), r"TorchServe; unpack it .*'net.pt'", "refused"),
    "j.zip": (zipped({"runs/best.ckpt": b"", "log.txt": b""}), r"other files .*unpack .*'runs/best.ckpt'", "refused"),
    "k.zip": (zipped({"log.txt": b""}), "zip archive of other files.*unpack it", NOTHING),
    "l.zip": (zipped({}), "an empty zip archive", NOTHING),
    "m.docx": (zipped({"[Content_Types].xml": b""}), "office document", NOTHING),
    "n.onnx": (content(b"\x08\x0a\x12\x07pytorch\x1a\x062.13.0:\x8b\x01"), "an ONNX model", NOTHING),
    "o.onnx.data": (content(NOISE), "a file of an ONNX model", NOTHING),
    "p.pth.dvc": (content(b"outs:\n- md5: 01\n  path: p.pth\n"), "dvc pull p.pth.dvc`, and push p", "refused"),
    "q.pth": (content(b"/annex/objects/MD5E-s123--abc.pth\n"), "git annex get q.pth", "refused"),
    "r.pth": (content(b"../.git/annex/objects/a/b/MD5E-s1/MD5E-s1"), "git annex get r.pth", "refused"),
    "s.pth": (content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull", "refused"),
    "t.pth": (content(b"# xet version 0\nfilesize = 3\n"), "git-xet", "refused"),
    "u-100.index": (content(b"\x00\x00\x02\x03\xff"), "a part of what TensorFlow saved", NOTHING),
    "u-100.data-00000-of-00001": (content(NOISE), "a part of what TensorFlow saved", NOTHING),
    "checkpoint": (content(b'model_checkpoint_path: "u-100"\n'), "the list that TensorFlow keeps", NOTHING),
    "v.tflite": (content(b"\x1c\x00\x00\x00TFL3\x00"), "TensorFlow Lite", NOTHING),
    "w.h5": (content(b"\x89HDF\r\n\x1a\n\x00"), "an HDF5 file", NOTHING),
    "x.gguf": (content(b"GGUF\x03\x00\x00\x00"), "a GGUF file", NOTHING),
    "y.msgpack": (content(b"\x81\xa6params\x82\xa5Dense\xc7"), "msgpack.*flax.serialization", NOTHING),
    "z.t7": (content(b"\x04\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00V 1\x0d"), "Lua Torch", NOTHING),
    "aa.pkl": (content(lambda: pickle.dumps(arrays())), "plain Python pickle .*'0.weight'", NOTHING),
    "ab.pth": (content(lambda: pickle.dumps(STATE)), "plain Python pickle .*'0.weight'", "refused"),
    "ac.pkl": (content(lambda: pickle.dumps({"w": 1.5}, 0)), "plain Python pickle .*'w'", NOTHING),
    "ad.joblib": (content(b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00\x8c\x06joblib"), "joblib.load", NOTHING),
    "ae.joblib": (content(lambda: zlib.compress(pickle.dumps(arrays()))), "joblib.load", NOTHING),
    "af.pth.gz": (content(lambda: gzip.compress(whole())), r"gzip -dc .*af\.pth\.gz > unpacked\.pth", "refused"),
    "ag.pth.bz2": (content(lambda: bz2.compress(whole())), "bzip2 -dc ", "refused"),
    "ah.pth.xz": (content(lambda: lzma.compress(whole())), "xz -dc ", "refused"),
    "ai.pth.zst": (content(b"\x28\xb5\x2f\xfd\x24"), "zstd -dc ", "refused"),
    "ai.pth.tar.gz": (content(lambda: gzip.compress(whole())), r"gzip -dc .*\.tar\.gz > unpacked\.pth", "refused"),
    "aj.tar.gz": (in_tar("w:gz"), r"tar archive compressed with gzip; unpack it with tar xf", "refused"),
    "ak.tgz": (in_tar("w:gz"), r"tar archive compressed with gzip; unpack it with tar xf", NOTHING),
    "al.pth.tar": (in_tar("w"), r"tar archive .*tar xf", "refused"),
    "am.csv.gz": (content(lambda: gzip.compress(b"a,b")), "compressed with gzip", NOTHING),
    "an.pth": (content(b""), "an empty file of 0 bytes", "damaged"),
    "ao.pth": (content(bytes(9000)), "nothing but zeros", "damaged"),
    "ap.pth": (content(b"<!DOCTYPE html><title>Sign in</title>"), "web page .*'Sign in'; download", "refused"),
    "aq.pth": (content(b"<?xml?><Error><Code>AccessDenied</Code></Error>"), "XML that says 'AccessDenied'", "refused"),
    "ar.html": (content(b"<html>"), "web page", NOTHING),
    "as.pth": (content(b'{"error": "Repository not found"}'), "'Repository not found'; download", "refused"),
    "at.pth": (content(b"runs/4/iter5000.pth\n"), "names 'runs/4/iter5000.pth'; push runs/4/iter5000.pth", "refused"),
    "au.json": (content(b'{"epochs": 4}'), "a text file, JSON with 'epochs'", NOTHING),
    "av.txt": (content(b"cat\ndog\nbird\n"), "a text file", NOTHING),
    "aw.md": (content(b"# How this was converted to onnx\n"), "a text file", NOTHING),
    "ax.pth.incomplete": (lambda path: path.write_bytes(whole()[:3000]), "has not ended", "refused"),
    "ay.safetensors.part": (lambda path: path.write_bytes(b"\x40" + bytes(7) + b"{"), "has not ended", "refused"),
    "az.pt": (lambda path: saved(path, optimizer()), "state of the optimizer; push the file that has", "no weights"),
    "ba.pt": (
        lambda path: saved(path, {"optimizer": optimizer(), "epoch": 3}),
        "with the state of the optimizer; push the file that has",
        "no weights",
    ),
    "bb.pt": (lambda path: saved(path, [torch.ones(2, 2)] * 3), "a list of 3 tensors without names", "no weights"),
    "bc.pt": (lambda path: torch.jit.save(torch.jit.script(NET), path), "TorchScript archive", "refused"),
    "bd.pt": (lambda path: torch.jit.trace(NET, torch.ones(2, 8)).save(path), "TorchScript archive", "refused"),
    "be.pth": (lambda path: path.write_bytes(whole()[:-400]), "damaged or was cut short", "damaged"),
    "bf.weights": (content(NOISE), "Darknet", NOTHING),
    "bg.engine": (content(b"ftrt\x00"), "TensorRT", NOTHING),
}  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), KINDS.items(), ids=KINDS.keys())
@pytest.mark.filterwarnings("ignore")
def test_a_push_and_an_import_say_what_a_file_is(
    name: str, kind: tuple[Callable[[Path], object], str, str], hub: Registry, tmp_path: Path
) -> None:
    make, words, verdict = kind
    path = tmp_path / "in" / name
    path.parent.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make(path)
    with pytest.raises(errors.RegistryError, match=words) as refusal:
        hub.push(path)
    sentence = str(refusal.value)
    assert sentence.count("; ") >= 1 and str(path) in sentence
    [line] = hub.import_folder(path.parent).lines
    assert (line.path, line.verdict) == (name, verdict)
    assert (line.verdict in sentence or line.reason.partition(";")[0] in sentence) and line.code == refusal.value.code
    assert not list(hub.home.glob("blobs/*/*"))


def test_the_line_that_converts_an_exported_program_gives_its_weights(hub: Registry, tmp_path: Path) -> None:
    exported(tmp_path / "a.pt2")
    with pytest.raises(errors.NotACheckpoint) as refusal:
        hub.push(tmp_path / "a.pt2")
    line = str(refusal.value).partition(" run ")[2].partition(" and push")[0]
    exec(line.replace('"weights.pth"', repr(str(tmp_path / "weights.pth"))), {"torch": torch})
    entry = hub.push(tmp_path / "weights.pth", "net")
    assert all(torch.equal(hub.state_dict(entry.ref)[name], tensor) for name, tensor in STATE.items())


def test_the_line_that_converts_an_npz_gives_its_weights(hub: Registry, tmp_path: Path) -> None:
    archive_of_arrays(tmp_path / "a.npz")
    with pytest.raises(errors.NotACheckpoint) as refusal:
        hub.push(tmp_path / "a.npz")
    line = str(refusal.value).partition(" run ")[2].partition(" and push")[0]
    exec(line.replace('"weights.pth"', repr(str(tmp_path / "weights.pth"))), {"torch": torch, "numpy": numpy})
    assert hub.push(tmp_path / "weights.pth", "net").digest == hub.push(saved(tmp_path / "b.pth", STATE), "net").digest


@pytest.mark.parametrize("name", ["a.pth.gz", "b.tar.gz"])
def test_the_command_that_unpacks_a_file_unpacks_it(name: str, hub: Registry, tmp_path: Path) -> None:
    path = tmp_path / name
    KINDS["af.pth.gz" if name == "a.pth.gz" else "aj.tar.gz"][0](path)
    with pytest.raises(errors.NotACheckpoint) as refusal:
        hub.push(path)
    command = str(refusal.value).partition("unpack it with ")[2].partition(", and push")[0]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    unpacked = tmp_path / ("unpacked.pth" if name == "a.pth.gz" else "best.pth")
    assert hub.push(unpacked, "net").tensor_count == len(STATE)


def test_a_pointer_beside_its_file_is_no_failure(hub: Registry, tmp_path: Path) -> None:
    saved(tmp_path / "p.pth", STATE)
    KINDS["p.pth.dvc"][0](tmp_path / "p.pth.dvc")
    verdicts = {line.path: line.verdict for line in hub.import_folder(tmp_path).lines}
    assert (verdicts["p.pth"], verdicts["p.pth.dvc"]) == ("new", NOTHING)


@pytest.mark.parametrize("store", [".git/annex/objects", ".dvc/cache"])
def test_links_into_the_store_of_their_repository_are_read_and_those_to_nothing_are_named(
    store: str, hub: Registry, tmp_path: Path
) -> None:
    inside = tmp_path / "repository" / store / "x1" / "MD5E-s1--a.pth"
    inside.parent.mkdir(parents=True)
    saved(inside, STATE)
    place = tmp_path / "repository" / "weights"
    place.mkdir()
    (place / "here.pth").symlink_to(os.path.relpath(inside, place))
    (place / "away.pth").symlink_to(f"../{store}/x2/MD5E-s2--b.pth")
    (place / "foreign.pth").symlink_to(saved(tmp_path / "foreign.pth", STATE))
    lines = {line.path: line for line in hub.import_folder(place).lines}
    assert (lines["here.pth"].verdict, lines["foreign.pth"].verdict) == ("new", "skipped")
    is_annex = store.startswith(".git")
    assert lines["away.pth"].verdict == ("refused" if is_annex else "skipped")
    with pytest.raises(errors.NotACheckpoint, match="git annex get away.pth" if is_annex else "does not exist"):
        hub.push(place / "away.pth")


FOLDERS = {
    "a SavedModel of TensorFlow": ["saved_model.pb", "variables/variables.index"],
    "transformers for TensorFlow": ["config.json", "tf_model.h5"],
    "transformers for Flax": ["config.json", "flax_model.msgpack"],
    r"Orbax \(JAX\)": ["_CHECKPOINT_METADATA", "default/manifest.ocdbt"],
    "a folder of TensorFlow": ["checkpoint", "m.ckpt-9.index", "m.ckpt-9.data-00000-of-00001"],
    "a model of MLflow": ["MLmodel", "data/model.pth"],
    "an empty folder": [],
}


@pytest.mark.parametrize(("words", "names"), FOLDERS.items(), ids=FOLDERS.keys())
def test_a_folder_of_another_program_is_called_what_it_is(
    words: str, names: list[str], hub: Registry, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\x08\x01")
    with pytest.raises(errors.NotACheckpoint, match=f"{words}; .+"):
        hub.push(folder)


def test_a_pipeline_names_its_models_and_an_import_takes_them(hub: Registry, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = tmp_path / "sd"
    for name, width in (("unet", 3), ("vae", 4)):
        (folder / name).mkdir(parents=True)
        save_file({"w": torch.ones(2, width)}, folder / name / "diffusion_pytorch_model.safetensors")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(errors.PipelineFolder, match=r"sd/unet.*sd/vae"):
        hub.push(folder)
    assert {line.path: line.verdict for line in hub.import_folder(folder).lines if line.path != "model_index.json"} == {
        "unet": "new",
        "vae": "new",
    }


def test_a_bundle_is_called_one_with_the_verb_that_takes_it(hub: Registry, tmp_path: Path) -> None:
    hub.push(STATE, "net")
    bundle = tmp_path / "folder" / "net.bundle"
    bundle.parent.mkdir()
    hub.copy("net", bundle)
    with pytest.raises(errors.NotACheckpoint, match=f"is a bundle of versions.*`registry copy {bundle}`"):
        hub.push(bundle, "other")
    [line] = hub.import_folder(bundle.parent).lines
    assert line.verdict == "refused"


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("epoch=3-step=100.ckpt", "epoch-3-step-100"),
        ("epoch=03-val_loss=0.21.ckpt", "epoch-03-val_loss-0.21"),
        ("best model (2).pth", "best-model-2"),
        ("net--final..pth", "net-final"),
    ],
)
def test_a_file_whose_name_is_no_models_gives_one_that_looks_like_it(
    name: str, model: str, hub: Registry, tmp_path: Path
) -> None:
    entry = hub.push(saved(tmp_path / name, {"state_dict": STATE}))
    assert entry.name == model
    assert hub.push(saved(tmp_path / name, {"state_dict": STATE})).ref == entry.ref


def test_a_name_that_was_given_is_never_changed(hub: Registry, tmp_path: Path) -> None:
    path = saved(tmp_path / "epoch=3.ckpt", STATE)
    with pytest.raises(errors.InvalidModelName, match="'epoch-3' would do"):
        hub.push(path, "epoch=3")
    with pytest.raises(errors.InvalidModelName):
        hub.push(saved(tmp_path / "模型.pth", STATE))
