"""Models of the libraries: pushed live or as a folder, loaded back in one line, written as the library reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import torch
from circumstances import no_network as no_network
from safetensors.torch import save_file

import registry
from registry import errors

pytestmark = pytest.mark.ecosystem
EACH = pytest.mark.parametrize(("builder", "make"), tiny.ALL, ids=lambda value: getattr(value, "__name__", value))


def assert_equal(one: torch.nn.Module, other: torch.nn.Module, run: Any) -> None:
    with torch.no_grad():
        assert torch.equal(run(one), run(other))


@EACH
def test_a_live_model_comes_back_in_one_line(builder: str, make: Any, hub: registry.Registry) -> None:
    model, run = make()
    entry = hub.push(model, "net")
    assert entry.builder == builder and "config" in entry.attachments and not entry.notices
    loaded, report = hub.load("net", report=True)
    assert type(loaded) is type(model) and report.built == "fast" and not loaded.training
    assert_equal(model, loaded, run)
    assert hub.check(loaded, "net").is_equal


@EACH
def test_a_folder_comes_back_in_one_line_and_is_the_live_model(
    builder: str, make: Any, hub: registry.Registry, tmp_path: Path
) -> None:
    model, run = make()
    tiny.save(builder, model, tmp_path / "saved")
    entry = hub.push(tmp_path / "saved", "net")
    assert entry.builder == builder and entry.digest == hub.push(model, "live").digest
    assert_equal(model, hub.load("net"), run)
    again = hub.push(hub.load("net"), "net")
    assert again.digest == entry.digest


@EACH
def test_what_is_exported_is_what_the_library_reads(
    builder: str, make: Any, hub: registry.Registry, tmp_path: Path
) -> None:
    model, run = make()
    hub.push(model, "net")
    hub.card("net", "# A net\n")
    folder = hub.export("net", tmp_path / "out", format="hf")
    assert (folder / "README.md").read_text() == "# A net\n"
    assert_equal(model, tiny.reopened(builder, model, folder), run)
    assert hub.push(folder, "again").digest == hub.get("net").digest


def test_shards_a_tokenizer_and_generation_settings_come_back(hub: registry.Registry, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

    model, run = tiny.decoder()
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?").save_pretrained(tmp_path / "saved")
    model.save_pretrained(tmp_path / "saved", max_shard_size="20KB")
    assert (tmp_path / "saved" / "model.safetensors.index.json").exists()
    entry = hub.push(tmp_path / "saved", "net")
    assert entry.attachments == ("config", "tokenizer") and not entry.notices
    loaded: Any = hub.load("net")
    assert_equal(model, loaded, run)
    assert loaded.generation_config.max_new_tokens == 7
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    folder = hub.export("net", tmp_path / "out", format="hf")
    assert AutoTokenizer.from_pretrained(folder)("a c b")["input_ids"] == [0, 2, 1]
    assert_equal(model, AutoModelForCausalLM.from_pretrained(folder).eval(), run)
    assert hub.push(folder, "net").reused


def test_a_folder_of_pickles_is_the_same_version(hub: registry.Registry, tmp_path: Path) -> None:
    model, run = tiny.encoder()
    model.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "saved" / "pytorch_model.bin")
    entry = hub.push(tmp_path / "saved", "net")
    assert entry.digest == hub.push(model, "live").digest
    assert_equal(model, hub.load("net"), run)


def test_weights_under_the_names_of_an_earlier_library_are_those_of_now(hub: registry.Registry, tmp_path: Path) -> None:
    model, _ = tiny.encoder()
    model.save_pretrained(tmp_path / "saved")
    named = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor.clone()
        for name, tensor in model.state_dict().items()
        if not name.startswith("cls.predictions.decoder")
    }
    save_file(named, tmp_path / "saved" / "model.safetensors", metadata={"format": "pt"})
    assert hub.push(tmp_path / "saved", "net").digest == hub.push(model, "live").digest


def test_weights_that_the_library_joins_are_stored_as_its_model_holds_them(
    hub: registry.Registry, tmp_path: Path
) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    settings = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    experts = {"num_key_value_heads": 2, "num_local_experts": 3, "vocab_size": 64, "pad_token_id": 0}
    model = MixtralForCausalLM(MixtralConfig(**settings, **experts)).eval()
    model.save_pretrained(tmp_path / "saved")
    entry = hub.push(tmp_path / "saved", "net")
    assert entry.digest == hub.push(model, "live").digest and not entry.notices
    assert_equal(model, hub.load("net"), lambda m: m(tiny.ids()).logits)
    folder = hub.export("net", tmp_path / "out", format="hf")
    assert_equal(model, MixtralForCausalLM.from_pretrained(folder).eval(), lambda m: m(tiny.ids()).logits)


def test_a_model_in_bfloat16_comes_back_so(hub: registry.Registry, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    tiny.llama().save_pretrained(tmp_path / "wide")
    model = LlamaForCausalLM.from_pretrained(tmp_path / "wide", dtype="bfloat16").eval()
    model.save_pretrained(tmp_path / "saved")
    with torch.no_grad():
        model.model.norm.float()  # as a library keeps some in another dtype
    for source in (model, tmp_path / "saved"):
        hub.push(source, "net")
        loaded: Any = hub.load("net")
        assert loaded.lm_head.weight.dtype == torch.bfloat16
    hub.push(model, "mixed")
    loaded = hub.load("mixed")
    assert loaded.model.norm.weight.dtype == torch.float32


def test_a_live_model_that_its_configuration_does_not_make_is_stored_without_a_builder(hub: registry.Registry) -> None:
    model, _ = tiny.encoder()
    model.bert.encoder.layer[1].output.dropout.p = 0.5
    entry = hub.push(model, "net")
    assert entry.builder is None and "p of 'bert.encoder.layer.1.output.dropout' is 0.5" in str(entry.notices)
    with pytest.raises(errors.BuilderMismatch):
        hub.push(model, "net", builder="transformers")
    model, _ = tiny.convolutional()
    model.fc = torch.nn.Linear(model.fc.in_features, 9)
    assert "'fc.weight'" in str(hub.push(model, "other").notices)


def test_code_beside_the_weights_is_never_run(hub: registry.Registry, tmp_path: Path) -> None:
    model, _ = tiny.encoder()
    folder = tmp_path / "saved"
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "modeling_own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    config["auto_map"] = {"AutoModel": "modeling_own.OwnModel"}
    config["_attn_implementation"] = config["attn_implementation"] = "kernels-community/some"
    (folder / "config.json").write_text(json.dumps(config))
    assert hub.push(folder, "native").builder == "transformers" and hub.load("native") is not None
    for name in ("OwnModel", "Trainer", "os", "BertForMaskedLM.forward"):
        (folder / "config.json").write_text(json.dumps({**config, "architectures": [name]}))
        entry = hub.push(folder, "foreign")
        assert entry.builder is None
        assert any(f"'{name}' is not a model of transformers" in n or "names no class" in n for n in entry.notices)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(errors.ModelNeeded):
        hub.load("foreign")


def test_a_number_in_a_configuration_has_no_endless_model_made(
    hub: registry.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.modules.builders import specification

    monkeypatch.setattr(specification, "MOST_PARTS", 1000)  # the real bound takes its time
    tiny.llama().save_pretrained(tmp_path / "saved")
    place = tmp_path / "saved" / "config.json"
    config = json.loads(place.read_text())
    for change in (
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 90_000},
        {"vocab_size": 10**15},
        {"num_labels": 10**12},
        {"text_config": {"num_labels": 10**4000}},
    ):
        place.write_text(json.dumps({**config, **change}))
        entry = hub.push(tmp_path / "saved", "net")
        assert entry.builder is None and "no builder is recorded" in str(entry.notices)


HOSTILE: dict[str, dict[str, Any]] = {
    "wide": {"hidden_size": 10**6, "num_attention_heads": 1},
    "long": {"max_position_embeddings": 10**10},
    "of many words": {"vocab_size": 10**9},
    "deep inside": {"intermediate_size": 10**9},
    "a text": {"hidden_size": "x"},
    "negative": {"hidden_size": -4},
    "nothing": {"hidden_size": None},
    "not a number": {"hidden_size": float("nan")},
    "endless": {"rope_theta": float("inf")},
    "a list": {"hidden_size": [32]},
    "a path": {"_name_or_path": "/etc/passwd", "rope_scaling": {"rope_type": "/etc/passwd"}},
    "a function": {"hidden_act": "__import__('os')"},
    "unheard of": {"unheard_of": [{"a": 1}]},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("make", [tiny.decoder, tiny.encoder], ids=["decoder", "encoder"])
def test_a_configuration_of_a_stranger_ends_in_one_sentence_and_little_memory(
    make: Any, change: dict[str, Any], hub: registry.Registry, tmp_path: Path
) -> None:
    model, _ = make()
    model.save_pretrained(tmp_path / "saved")
    place = tmp_path / "saved" / "config.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **change}))
    before = _peak()
    try:
        entry = hub.push(tmp_path / "saved", "net")
        assert entry.builder == "transformers" or "no builder is recorded" in " ".join(entry.notices)
    except errors.BuilderMismatch as error:
        assert "--builder none" in str(error)
    assert _peak() - before < 1 << 30


def _peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10


LARGE: list[Callable[[], object]] = [
    lambda: torch.arange(10**8),
    lambda: torch.ones(10_000, 10_000, dtype=torch.bool),
    lambda: torch.arange(10_000)[:, None] * torch.arange(10_000)[None],
    lambda: torch.ones(1000, 1).repeat(1, 10**5),
    lambda: torch.outer(torch.ones(10**4), torch.ones(10**4)),
    lambda: torch.ones(1).expand(10**8).clone(),
    lambda: [torch.zeros(3_000_000) for _ in range(100)],
    lambda: torch.eye(10_000),
]


@pytest.mark.parametrize("make", LARGE)
def test_nothing_large_is_computed_for_a_configuration(
    make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.modules.builders import allocation, specification

    monkeypatch.setattr(allocation, "MOST_AT_ONCE", 64 << 20)
    monkeypatch.setattr(allocation, "MOST_COMPUTED", 128 << 20)
    with pytest.raises(errors.LibraryRefused, match="would be computed"), specification.bounded("transformers"):
        make()


def test_what_is_honest_is_computed() -> None:
    from registry.modules.builders.specification import bounded

    with bounded("transformers"):
        mask = torch.tril(torch.ones((8192, 8192), dtype=torch.bool))
        angles = torch.outer(torch.arange(100_000.0), torch.ones(64)).cos()
    assert mask.sum() == 8192 * 8193 // 2 and angles.shape == (100_000, 64)


def test_a_folder_whose_weights_are_of_another_model_is_refused(hub: registry.Registry, tmp_path: Path) -> None:
    model, _ = tiny.encoder()
    model.save_pretrained(tmp_path / "saved")
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items() if "layer.1" not in name}
    save_file(tensors, tmp_path / "saved" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(errors.BuilderMismatch, match="--builder none"):
        hub.push(tmp_path / "saved", "net")
    assert hub.push(tmp_path / "saved", "net", builder="none").builder is None
    more = {**model.state_dict(), "bert.encoder.layer.9.output.dense.weight": torch.ones(2)}
    save_file({name: tensor.clone() for name, tensor in more.items()}, tmp_path / "saved" / "model.safetensors")
    with pytest.raises(errors.BuilderMismatch) as refusal:
        hub.push(tmp_path / "saved", "net")
    assert str(refusal.value).count("push the live model") == 1
    (tmp_path / "saved" / "config.json").unlink()
    assert hub.push(tmp_path / "saved", "bare").builder is None


def test_no_library_is_asked_by_what_only_looks(hub: registry.Registry, tmp_path: Path) -> None:
    model, _ = tiny.vision()
    hub.push(model, "net")
    looks = f"""
import sys, registry
hub = registry.Registry({str(hub.home)!r})
hub.list(), hub.get("net"), hub.log(), hub.card("net"), hub.audit()
hub.export("net", {str(tmp_path / "o")!r}, format="hf")
assert not [name for name in sys.modules if name.partition(".")[0] in ("transformers", "huggingface_hub")]
"""
    subprocess.run([sys.executable, "-c", looks], check=True)
    report = hub.audit(classes=True)
    assert report.is_clean and not report.unchecked_classes


def test_a_component_of_a_pipeline_is_a_model_by_itself(hub: registry.Registry, tmp_path: Path) -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    model, run = tiny.unet()
    DDPMPipeline(model, DDPMScheduler()).save_pretrained(tmp_path / "pipe")
    with pytest.raises(errors.PipelineFolder, match=r"push each of them: \S+/pipe/unet$"):
        hub.push(tmp_path / "pipe", "pipe")
    hub.push(tmp_path / "pipe" / "unet", "unet")
    assert_equal(model, hub.load("unet"), run)
    assert isinstance(hub.load("unet"), UNet2DModel)


def test_a_model_of_torchvision_is_built_by_its_function(hub: registry.Registry) -> None:
    from torchvision.models import resnet18

    model = resnet18(num_classes=3).eval()
    entry = hub.push(model, "resnet", model="torchvision.models:resnet18", init={"num_classes": 3})
    assert entry.builder is None and entry.model_class == "torchvision.models:resnet18"
    assert_equal(model, hub.load("resnet"), lambda m: m(tiny.picture(3, 64)))


def test_a_list_that_a_configuration_makes_a_library_write_is_not_endless(
    hub: registry.Registry, tmp_path: Path
) -> None:
    config = {"architecture": "vit_tiny_patch16_224", "model_args": {"depth": 10**12}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    entry = hub.push(tmp_path, "net")
    assert entry.builder is None and "its depth is 1,000,000,000,000" in str(entry.notices)
