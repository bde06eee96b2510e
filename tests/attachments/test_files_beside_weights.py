"""What lies beside the weights of a folder: kept, and under the record, or named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from contents import is_empty
from hypothesis import given, strategies as st
from safetensors.torch import save_file

from registry import Registry, errors
from registry.attachments.attachment import Attachment
from registry.attachments.files import as_tensor, check_path, configuration, stored_files
from registry.loading.hub_folder import index, shards
from registry.pushing.beside import store_beside
from registry.tensors.manifest import Location, Manifest, StoredTensor
from registry.tensors.spec import TensorSpec

VOCABULARY = bytes(range(256)) * 7


def weights(step: int = 0) -> dict[str, torch.Tensor]:
    return {"head.weight": torch.arange(6.0).reshape(2, 3) + step, "head.bias": torch.ones(2)}


def folder_at(place: Path, files: Mapping[str, str | bytes] | None = None, step: int = 0) -> Path:
    """Make a folder as ``save_pretrained`` does, of a model that no library makes."""
    place.mkdir(parents=True)
    save_file(weights(step), place / "model.safetensors")
    (place / "config.json").write_text('{"width": 3}')
    for name, content in (files or {}).items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


FILES: dict[str, Any] = {
    "tokenizer.model": VOCABULARY,
    "vocab.txt": "",
    "extra/chat_template.jinja": "{{ text }}",
    "1_Pooling/config.json": '{"mode": "mean"}',
    "README.md": "# A net\n",
    "modeling_net.py": "raise SystemExit('it ran')",
    "logo.png": b"\x89PNG",
    ".cache/state": "x",
    "broken_config.json": "{",
    "odd\\_config.json": "{}",
    "new\nline_config.json": "{}",
}


def test_configurations_and_tokenizer_are_kept_to_the_byte_and_the_rest_is_named(hub: Registry, tmp_path: Path) -> None:
    entry = hub.push(folder_at(tmp_path / "net", FILES), "net")
    assert entry.attachments == ("config", "tokenizer")
    [note] = [notice for notice in entry.notices if notice.startswith("not kept")]
    odd = "'new\nline_config.json', 'odd\\_config.json'"
    assert note == f"not kept: '.cache/', 'broken_config.json', 'logo.png', 'modeling_net.py', {odd}"
    assert configuration(hub._home, entry).files == {
        name: FILES.get(name, '{"width": 3}')
        for name in (
            "config.json",
            "1_Pooling/config.json",
        )
    }
    assert stored_files(hub._home, entry, "tokenizer") == {
        "tokenizer.model": VOCABULARY,
        "vocab.txt": b"",
        "extra/chat_template.jinja": b"{{ text }}",
    }
    assert hub.card("net") == "# A net\n" and hub.audit().is_clean
    (name, tensor), *_ = hub.state_dict("net").items()
    assert torch.equal(tensor, weights()[name])


@pytest.mark.in_a_folder
def test_other_files_beside_the_same_weights_are_another_version_that_costs_no_tensor(
    hub: Registry, tmp_path: Path
) -> None:
    first = hub.push(folder_at(tmp_path / "a", {"vocab.txt": "a b"}), "net")
    blobs = hub.catalog.known_blobs().keys()
    assert hub.push(folder_at(tmp_path / "b", {"vocab.txt": "a b"}), "net").reused
    second = hub.push(folder_at(tmp_path / "c", {"vocab.txt": "a b", "generation_config.json": "{}"}), "net")
    assert second.version == 2 and second.digest == first.digest and second.record_digest != first.record_digest
    assert hub.catalog.known_blobs().keys() == blobs
    third = hub.push(folder_at(tmp_path / "d", {"vocab.txt": "a c"}), "net")
    assert third.version == 3 and len(hub.catalog.known_blobs()) == len(blobs) + 1
    assert hub.push(tmp_path / "a" / "model.safetensors", "net").reused


def test_a_link_out_of_the_folder_is_not_followed_and_one_of_the_hubs_cache_is(hub: Registry, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("password")
    stray = folder_at(tmp_path / "stray")
    (stray / "tokenizer.json").symlink_to(tmp_path / "secret")
    (stray / "vocab.txt").symlink_to(stray / "config.json")
    (stray / "more").symlink_to(tmp_path)
    entry = hub.push(stray, "stray")
    assert "'more/', 'tokenizer.json'" in entry.notices[-1]
    assert stored_files(hub._home, entry, "tokenizer") == {"vocab.txt": b'{"width": 3}'}

    cache = tmp_path / "models--x"
    folder_at(cache / "blobs")
    (snapshot := cache / "snapshots" / "abc").mkdir(parents=True)
    for name in ("model.safetensors", "config.json"):
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    assert configuration(hub._home, hub.push(snapshot, "cached")).files == {"config.json": '{"width": 3}'}


def test_files_beside_other_weights_in_the_folder_are_not_taken(hub: Registry, tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "run")
    folder_at(folder / "checkpoint-5", {"vocab.txt": "x"}, step=1)
    entry = hub.push(folder, "net")
    assert list(configuration(hub._home, entry).files) == ["config.json"] and "tokenizer" not in entry.attachments
    assert any("checkpoint-5" in notice for notice in entry.notices)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", ".", "a//b", "./a", "a\\..\\b", "a/\0"])
def test_a_stored_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(errors.UnsafePath):
        check_path("net:v1", path)


@given(st.text(max_size=30))
def test_whatever_path_is_accepted_lies_in_the_folder(path: str) -> None:
    try:
        accepted = check_path("net:v1", path)
    except errors.UnsafePath:
        return
    place = Path("/base", accepted)
    assert place != Path("/base") and place.parts[:2] == ("/", "base") and ".." not in place.parts


def test_a_pipeline_names_the_models_to_push(hub: Registry, tmp_path: Path) -> None:
    (tmp_path / "pipe").mkdir()
    (tmp_path / "pipe" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    folder_at(tmp_path / "pipe" / "text_encoder")
    folder_at(tmp_path / "pipe" / "vae")
    (tmp_path / "pipe" / "scheduler").mkdir()
    with pytest.raises(errors.PipelineFolder, match=r"push each of them: \S+/pipe/text_encoder, \S+/pipe/vae$"):
        hub.push(tmp_path / "pipe", "pipe")
    assert is_empty(hub)


def test_an_index_that_leaves_out_a_shard_is_not_the_whole_model(hub: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    save_file(weights(), folder / "model-00001-of-00002.safetensors")
    where = dict.fromkeys(weights(), "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    with pytest.raises(errors.DamagedCheckpoint, match=r"names no tensor of model-00002-of-00002\.safetensors"):
        hub.push(folder, "net")


@pytest.mark.parametrize(
    ("codes", "scales"),
    [
        ({"a.weight": torch.int8}, {"a.SCB": (4,)}),
        ({"a.weight": torch.uint8}, {"a.weight.absmax": (1,)}),
        ({"a.qweight": torch.int32, "a.qzeros": torch.int32}, {"a.scales": (1, 4)}),
        ({"a.weight": torch.float8_e4m3fn}, {"a.weight_scale_inv": (1, 1)}),
        ({"a.weight_packed": torch.int32, "a.weight_shape": torch.int64}, {"a.weight_scale": (4, 1)}),
    ],
)
def test_quantized_weights_without_their_scales_are_refused(
    hub: Registry, tmp_path: Path, codes: dict[str, torch.dtype], scales: dict[str, tuple[int, ...]]
) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "config.json").write_text('{"quantization_config": {"quant_method": "some"}}')
    tensors = {name: torch.ones(4, 4).to(dtype) for name, dtype in codes.items()}
    others = {"a.bias": torch.ones(4), "b.weight": torch.ones(2, 2)}
    save_file({**tensors, **others}, folder / "model.safetensors")
    with pytest.raises(errors.ScalesMissing, match=rf"scales of {next(iter(codes))} are not there"):
        hub.push(folder, "net")
    save_file({**tensors, **others, **{n: torch.ones(s) for n, s in scales.items()}}, folder / "model.safetensors")
    assert hub.push(folder, "net").version == 1


def test_a_folder_is_exported_as_it_was_and_comes_back_as_the_same_version(hub: Registry, tmp_path: Path) -> None:
    files = {name: FILES[name] for name in ("tokenizer.model", "1_Pooling/config.json", "README.md")}
    entry = hub.push(folder_at(tmp_path / "net", files), "net")
    out = hub.export("net", tmp_path / "out", format="hf")
    held = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert held == {"model.safetensors", "config.json", *files}
    assert all((out / name).read_bytes() == (tmp_path / "net" / name).read_bytes() for name in (*files, "config.json"))
    again = hub.push(out, "net")
    assert again.reused and again.record_digest == entry.record_digest


def test_an_export_takes_the_place_of_nothing_and_leaves_nothing_behind(hub: Registry, tmp_path: Path) -> None:
    hub.push(folder_at(tmp_path / "net", {"vocab.txt": "a"}), "net")
    hub.push(weights(), "bare")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "empty").mkdir()
    for ref, out in (("net", "full"), ("net", "no/where"), ("bare", "out"), ("net", "out.pth")):
        with pytest.raises(errors.CannotExport):
            hub.export(ref, tmp_path / out, format="hf")
    [blob] = {t.location.blob for t in hub.catalog.manifest_and_documents(hub.get("net"))[0].tensors.values()}
    hub.export("net", tmp_path / "empty", format="hf")
    [stored] = (hub.home / "blobs").rglob(f"{blob}*")
    stored.chmod(0o600)
    stored.write_bytes(stored.read_bytes()[:-4] + b"\xff\xff\xff\xff")
    with pytest.raises(errors.RegistryError):
        hub.export("net", tmp_path / "out", format="hf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full", "home", "net"]


def test_weights_are_split_where_they_are_larger_than_a_file_should_be() -> None:
    def tensor(size: int) -> StoredTensor:
        return StoredTensor(TensorSpec("uint8", (size,)), "d", Location("b", 0))

    whole = Manifest({"a": tensor(3), "b": tensor(2), "c": tensor(9), "d": tensor(1)})
    parts = shards(whole, 5)
    assert [list(part.tensors) for part in parts] == [["a", "b"], ["c"], ["d"]]
    told = json.loads(index({f"{n}.safetensors": part for n, part in enumerate(parts)}))
    assert told["metadata"]["total_size"] == 15 and told["weight_map"]["c"] == "1.safetensors"


def test_the_history_of_a_card_is_in_the_trail(hub: Registry, tmp_path: Path) -> None:
    hub.push(folder_at(tmp_path / "net", {"README.md": "one"}), "net")
    assert hub.card("net", "two") == "two" and hub.card("net", "two") == "two"
    assert hub.card("net", "") is None
    hub.push(folder_at(tmp_path / "again", {"README.md": "three"}), "net")
    told = [event.details["card"] for event in hub.log("net") if event.verb == "card"]
    assert told == ["three", None, "two", "one"] and hub.audit().is_clean
    with pytest.raises(errors.UnknownModel):
        hub.card("other")
    with pytest.raises(errors.InvalidFact):
        hub.card("net", "é" * 600_000)


def test_a_library_that_is_not_installed_is_named_at_the_load(
    hub: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in ("diffusers", "registry.modules.builders.diffusers"):
        monkeypatch.setitem(sys.modules, name, None)
    folder = folder_at(tmp_path / "net")
    (folder / "config.json").write_text('{"_class_name": "UNet2DModel", "_diffusers_version": "0.42.1"}')
    entry = hub.push(folder, "net")
    assert entry.builder == "diffusers" and any(notice.startswith("not checked") for notice in entry.notices)
    with pytest.raises(errors.LibraryMissing, match=r"^net:v1 is made by diffusers.*checkpoint-registry\[diffusers\]"):
        hub.load("net")
    with pytest.raises(errors.LibraryMissing):
        hub.push(folder, "named", builder="diffusers")
    assert hub.push(folder, "plain", builder="none").builder is None
    assert (hub.export("net", tmp_path / "out", format="hf") / "diffusion_pytorch_model.safetensors").exists()


def test_a_builder_that_does_not_apply_is_refused(hub: Registry, tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "net")
    with pytest.raises(errors.UnknownBuilder, match="transformers, diffusers, timm, peft, or none"):
        hub.push(folder, "net", builder="keras")
    with pytest.raises(errors.BuilderNotApplicable):
        hub.push(folder, "net", builder="timm")
    with pytest.raises(errors.BuilderNotApplicable):
        hub.push(torch.nn.Linear(3, 2), "net", builder="timm")
    with pytest.raises(errors.NotAnAdapter):
        hub.push(folder, "net", base="net")


def test_other_files_are_kept_under_the_record_and_exported(hub: Registry, tmp_path: Path) -> None:
    first = hub.push(folder_at(tmp_path / "net"), "net")
    others = {"notes/run.txt": b"what happened", "model.safetensors.index.json": b"{}"}
    attached = {"files": Attachment({path: as_tensor(content) for path, content in others.items()})}
    kept = store_beside(hub._home, first, dict(configuration(hub._home, first).files), attached)
    assert (kept.version, kept.digest) == (2, first.digest) and kept.record_digest != first.record_digest
    assert kept.attachments == ("config", "files") and stored_files(hub._home, kept, "files") == others
    out = hub.export(kept.ref, tmp_path / "out", format="hf")
    assert (Path(out) / "notes/run.txt").read_bytes() == b"what happened"
    assert not (Path(out) / "model.safetensors.index.json").exists(), "the weights are in one file"
    assert not hub.audit().faults
