"""Adapters of PEFT: stored by themselves, and loaded on their base, of which the digest says which it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import torch
from circumstances import no_network as no_network
from contents import is_empty
from torch import nn

import registry
from registry import errors

pytestmark = pytest.mark.ecosystem


def adapted(base: nn.Module | None = None, **changes: Any) -> Any:
    """Return a tiny language model with a trained LoRA adapter on it."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    settings = {"r": 2, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **changes}
    model = get_peft_model(base or tiny.llama(), LoraConfig(**settings)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))) / 10)
    return model


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(tiny.ids()).logits


@pytest.fixture
def stocked(hub: registry.Registry) -> registry.Registry:
    """A registry with ``base:v1``."""
    torch.manual_seed(1)
    hub.push(tiny.llama(), "base")
    return hub


@pytest.mark.parametrize(
    "changes", [{}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"target_modules": "all-linear"}]
)
def test_a_live_adapter_is_stored_by_itself_and_comes_back_on_its_base(
    stocked: registry.Registry, changes: dict[str, Any]
) -> None:
    from peft import PeftModel

    model = adapted(stocked.load("base"), **changes)
    entry = stocked.push(model, "chat")
    assert entry.builder == "peft" and entry.base == stocked.get("base").digest and not entry.notices
    assert entry.parameter_count < stocked.get("base").parameter_count
    loaded, report = stocked.load("chat", report=True)
    assert isinstance(loaded, PeftModel) and report.digest == entry.digest and report.built == "fast"
    assert torch.equal(logits(loaded), logits(model)) and not torch.equal(logits(loaded), logits(stocked.load("base")))
    assert [name for name, p in loaded.named_parameters() if p.requires_grad]
    again = stocked.push(loaded, "chat")
    assert again.reused and again.version == 1


def test_a_folder_needs_its_base_named_and_is_the_live_adapter(stocked: registry.Registry, tmp_path: Path) -> None:
    model = adapted(stocked.load("base"))
    model.save_pretrained(tmp_path / "saved")
    lone = stocked.push(tmp_path / "saved", "lone")
    assert lone.base is None and any("without its base" in notice for notice in lone.notices)
    with pytest.raises(errors.BaseNeeded, match="base='llama:v1'"):
        stocked.load("lone")
    assert torch.equal(logits(stocked.load("lone", base="base")), logits(model))
    entry = stocked.push(tmp_path / "saved", "chat", base="base:v1")
    assert entry.digest == stocked.push(model, "live").digest
    assert torch.equal(logits(stocked.load("chat")), logits(model))


def test_a_base_is_any_live_version_that_has_its_weights(stocked: registry.Registry) -> None:
    stocked.push(adapted(stocked.load("base")), "chat")
    stocked.push(stocked.load("base"), "copy")
    stocked.rm("base:v1")
    assert stocked.load("chat") is not None
    stocked.rm("copy:v1", force=True)
    with pytest.raises(errors.BaseMissing, match="push or restore"):
        stocked.load("chat")
    stocked.restore("base:v1")
    assert stocked.load("chat") is not None


def test_a_base_whose_weights_were_pushed_again_as_tensors_alone_is_still_built(
    stocked: registry.Registry, tmp_path: Path
) -> None:
    model = adapted(stocked.load("base"))
    stocked.push(model, "chat")
    stocked.push(stocked.state_dict("base"), "tensors")
    assert torch.equal(logits(stocked.load("chat")), logits(model))
    elsewhere = registry.Registry(tmp_path / "elsewhere")
    stocked.copy("chat", elsewhere.home)
    assert {entry.name for entry in elsewhere.list()} == {"base", "chat"}
    assert torch.equal(logits(elsewhere.load("chat")), logits(model))
    with pytest.raises(errors.NotAnAdapter):
        stocked.push(stocked.load("base"), "other", base="chat")


def test_a_base_that_is_not_here_is_refused_or_stored_too(hub: registry.Registry) -> None:
    model = adapted()
    with pytest.raises(errors.BaseNotHere, match="'chat-base': with_base=True"):
        hub.push(model, "chat")
    assert is_empty(hub)
    entry = hub.push(model, "chat", with_base=True)
    assert entry.base == hub.get("chat-base").digest and hub.get("chat-base").builder == "transformers"
    assert torch.equal(logits(hub.load("chat")), logits(model))
    assert type(hub.load("chat-base")).__name__ == "LlamaForCausalLM"


def test_a_base_that_cannot_be_told_has_to_be_named(stocked: registry.Registry) -> None:
    model = adapted(stocked.load("base"))
    model.merge_adapter()
    with pytest.raises(errors.BaseAltered, match="merged"):
        stocked.push(model, "chat")
    model.unmerge_adapter()
    model.get_base_model().is_quantized = True
    with pytest.raises(errors.BaseAltered, match="quantized"):
        stocked.push(model, "chat")
    assert stocked.push(model, "chat", base="base").base == stocked.get("base").digest


def test_an_adapter_that_does_not_fit_its_base_is_refused(stocked: registry.Registry, tmp_path: Path) -> None:
    adapted(stocked.load("base")).save_pretrained(tmp_path / "saved")
    stocked.push(tiny.llama(hidden_size=16), "smaller")
    with pytest.raises(errors.BuilderMismatch, match="on smaller:v1"):
        stocked.push(tmp_path / "saved", "chat", base="smaller")
    stocked.push(tmp_path / "saved", "chat", base="base")
    with pytest.raises(errors.OtherBase):
        stocked.load("chat", base="smaller")
    with pytest.raises(errors.NotAnAdapter):
        stocked.load("base", base="smaller")
    with pytest.raises(errors.NotAnAdapter):
        stocked.push(stocked.load("base"), "other", base="base")


def test_an_adapter_initialized_from_its_base_is_refused_on_the_base_it_changed(
    stocked: registry.Registry, tmp_path: Path
) -> None:
    model = adapted(stocked.load("base"), init_lora_weights="pissa")
    model.save_pretrained(tmp_path / "saved")
    with pytest.raises(errors.BuilderMismatch, match="pissa"):
        stocked.push(tmp_path / "saved", "chat", base="base")
    stocked.push(model, "chat", with_base=True)
    assert torch.equal(logits(stocked.load("chat")), logits(model))


def test_a_training_goes_on_and_is_checked(stocked: registry.Registry) -> None:
    def trainable(model: nn.Module) -> list[nn.Parameter]:
        return [parameter for parameter in model.parameters() if parameter.requires_grad]

    model = adapted(stocked.load("base"))
    optimizer = torch.optim.AdamW(trainable(model))
    model(tiny.ids()).logits.square().mean().backward()
    optimizer.step()
    stocked.push(model, "chat", optimizer=optimizer, step=1)
    other: Any = stocked.load("chat")
    assert stocked.check(other, "chat").is_equal and stocked.check(model, "chat").is_equal
    again = torch.optim.AdamW(trainable(other))
    assert stocked.resume("chat", other, again).step == 1
    assert torch.equal(again.state[trainable(other)[0]]["exp_avg"], optimizer.state[trainable(model)[0]]["exp_avg"])
    with torch.no_grad():
        trainable(other)[0].add_(1)
    assert len(stocked.check(other, "chat").differs) == 1
    stocked.load("chat", model=other)
    assert stocked.check(other, "chat").is_equal
    with torch.no_grad():
        other.get_base_model().model.norm.weight.add_(1)
    assert stocked.check(other, "chat").differs == ("model.norm.weight",)


def test_an_exported_adapter_is_what_peft_reads(stocked: registry.Registry, tmp_path: Path) -> None:
    from peft import PeftModel

    model = adapted(stocked.load("base"))
    stocked.push(model, "chat")
    folder = stocked.export("chat", tmp_path / "out", format="hf")
    read = PeftModel.from_pretrained(stocked.load("base"), folder).eval()
    assert torch.equal(logits(read), logits(model))


def _edited(folder: Path, **changes: Any) -> Path:
    place = folder / "adapter_config.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **changes}))
    return folder


def test_an_adapter_that_would_have_a_module_imported_has_none(
    stocked: registry.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "megatron_of_a_stranger.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    model = adapted(stocked.load("base"))
    model.save_pretrained(tmp_path / "saved")
    named = {"megatron_config": {"a": 1}, "megatron_core": "megatron_of_a_stranger"}
    stocked.push(_edited(tmp_path / "saved", **named), "chat", base="base")
    assert torch.equal(logits(stocked.load("chat")), logits(model)) and not (tmp_path / "ran").exists()


SLOW = "(([a-z_.]+)+)+!"


@pytest.mark.parametrize(
    "change",
    [
        {"target_modules": SLOW},
        {"target_modules": "(.*)*(.*)*(.*)*(.*)*(.*)*(.*)*(.*)*x"},
        {"exclude_modules": SLOW},
        {"modules_to_save": [SLOW]},
        {"rank_pattern": {SLOW: 3}},
        {"alpha_pattern": {SLOW: 3}},
        {"layers_to_transform": [0], "layers_pattern": [SLOW]},
        {"peft_type": "IA3", "target_modules": ["q_proj"], "feedforward_modules": SLOW},
    ],
    ids=lambda change: "-".join(change),
)
def test_a_pattern_that_takes_forever_is_refused(
    stocked: registry.Registry, tmp_path: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.modules.builders import patterns

    monkeypatch.setattr(patterns, "SECONDS", 1)
    adapted(stocked.load("base")).save_pretrained(tmp_path / "saved")
    entry = stocked.push(_edited(tmp_path / "saved", **change), "chat", base="base")
    assert any("its pattern" in notice and "takes more than" in notice for notice in entry.notices)
    if "target_modules" in change:
        with pytest.raises(errors.LibraryRefused, match="takes more than"):
            stocked.load("chat")


@pytest.mark.parametrize(
    "pattern",
    [
        r".*\.(q|v)_proj$",
        r"^(?!.*visual).*(?:q_proj|v_proj).*",
        r"(?:.*?(?:language|model).*?(?:self_attn).*?(?:q|v)_proj.*?)",
    ],
)
def test_an_honest_pattern_comes_back(stocked: registry.Registry, tmp_path: Path, pattern: str) -> None:
    model = adapted(stocked.load("base"), target_modules=pattern)
    model.save_pretrained(tmp_path / "saved")
    stocked.push(tmp_path / "saved", "chat", base="base")
    assert torch.equal(logits(stocked.load("chat")), logits(model))


def test_a_configuration_of_a_stranger_ends_in_one_sentence(stocked: registry.Registry, tmp_path: Path) -> None:
    adapted(stocked.load("base")).save_pretrained(tmp_path / "saved")
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    for change in (
        {"r": 10**9},
        {"r": "x"},
        {"r": -1},
        {"r": float("nan")},
        {"lora_alpha": [1]},
        {"target_modules": None},
        {"target_modules": 7},
        {"target_modules": ["/etc/passwd"]},
        {"target_modules": "("},
        {"target_modules": "a" * 20_000 + "*"},
        {"target_modules": [f"{number}*" for number in range(2000)]},
        {"rank_pattern": deep},
        {"unheard_of": deep},
        {"layer_replication": [[0, 10**6]]},
    ):
        try:
            entry = stocked.push(_edited(tmp_path / "saved", **change), "chat", base="base", force_new=True)
            stocked.load(entry.ref)
        except errors.RegistryError as error:
            assert "\n" not in str(error)


def test_an_adapter_that_would_read_what_lies_elsewhere_is_refused(stocked: registry.Registry, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model

    settings = {"num_virtual_tokens": 4, "task_type": "CAUSAL_LM"}
    get_peft_model(stocked.load("base"), PromptTuningConfig(**settings)).save_pretrained(tmp_path / "saved")
    elsewhere = str(tmp_path / "elsewhere")
    for change in (
        {"prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "a", "tokenizer_name_or_path": elsewhere},
        {"peft_type": "XLORA", "adapters": {"a": elsewhere}},
        {"peft_type": "MULTITASK_PROMPT_TUNING", "prompt_tuning_init_state_dict_path": elsewhere},
        {"peft_type": ["LORA"]},
    ):
        stocked.push(_edited(tmp_path / "saved", **change), "chat", base="base", force_new=True)
        with pytest.raises(errors.LibraryRefused, match="not made of plain data alone"):
            stocked.load("chat")
