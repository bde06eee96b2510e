"""Classes that read their state dict in their own way: what strict loading takes is taken, and compared afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reading
import torch
from torch import nn

import registry
from registry import errors

State = dict[str, torch.Tensor]
Rows = torch.arange(12.0).reshape(4, 3)


def earlier(state: State) -> State:
    """Return a state dict as an earlier release of `Renamed` had it."""
    return {name.replace("encoder", "stem"): tensor for name, tensor in state.items()}


FILES: dict[str, tuple[type[nn.Module], Callable[[], State]]] = {
    "renames": (reading.Renamed, lambda: earlier(reading.Renamed().state_dict())),
    "drops": (reading.Positions, lambda: {**reading.Positions().state_dict(), "position_ids": torch.arange(5)}),
    "resizes": (reading.Bank, lambda: reading.Bank(4).state_dict()),
    "adopts": (reading.Adopting, lambda: {**nn.ModuleDict({"fc": nn.Linear(3, 3)}).state_dict(), "least": Rows}),
    "splits": (reading.Split, lambda: {"qkv.weight": torch.randn(9, 3)}),
}
"""Files that their class loads strictly, although their names or shapes are not its own."""

WRAPPED: dict[str, Callable[[str], str]] = {
    "bare": lambda name: name,
    "under DDP": lambda name: f"module.{name}",
    "compiled under DDP": lambda name: f"_orig_mod.module.{name}",
    "in a LightningModule": lambda name: f"model.{name}",
}


def strictly(cls: type[nn.Module], state: State) -> State:
    """Return what the class makes of a file by itself."""
    model = cls()
    model.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, strict=True)
    return model.state_dict()


def equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def written(folder: Path, state: State) -> Path:
    torch.save(state, folder / "file.pth")
    return folder / "file.pth"


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("kind", FILES)
def test_what_strict_loading_takes_push_and_load_take(
    kind: str, wrapped: str, hub: registry.Registry, tmp_path: Path
) -> None:
    cls, make = FILES[kind]
    state = make()
    file = written(tmp_path, {WRAPPED[wrapped](name): tensor for name, tensor in state.items()})
    entry = hub.push(file, "net", model=f"reading:{cls.__name__}")
    model, report = hub.load("net", report=True)
    assert equal(model.state_dict(), strictly(cls, state))
    assert equal(hub.state_dict("net"), state), "the version has what the file has"
    assert "no load takes" not in str(entry.notices)
    assert (bool(report.renamed), bool(report.made)) == (kind == "renames", kind == "splits")


@pytest.mark.parametrize("kind", FILES)
def test_a_version_pushed_without_its_class_is_taken_by_it(kind: str, hub: registry.Registry) -> None:
    cls, make = FILES[kind]
    state = make()
    hub.push(state, "net")
    model = cls()
    own = [id(parameter) for parameter in model.parameters()]
    assert hub.load("net", model=model) is model
    assert equal(model.state_dict(), strictly(cls, state))
    assert [id(parameter) for parameter in model.parameters()] == own


def test_wrapped_and_bare_files_of_an_earlier_release_are_one_version(hub: registry.Registry) -> None:
    state = earlier(reading.Renamed().state_dict())
    first = hub.push(state, "net", model="reading:Renamed")
    again = hub.push({f"module.{name}": t for name, t in state.items()}, "net", model="reading:Renamed")
    assert again.reused and again.ref == first.ref


def test_a_model_in_training_for_quantization_is_resumed(hub: registry.Registry) -> None:
    def make() -> Any:
        from torch.ao import quantization

        model = nn.Sequential(quantization.QuantStub(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).train()
        model.qconfig = quantization.get_default_qat_qconfig("fbgemm")
        return quantization.prepare_qat(model)

    model = make()
    for _ in range(3):
        model(torch.randn(5, 3))
    hub.push(model, "net")
    fresh = make()
    hub.resume("net", fresh)
    assert equal(fresh.state_dict(), model.state_dict())
    assert hub.check(fresh, "net").is_equal


def test_a_model_observed_for_quantization_is_loaded(hub: registry.Registry) -> None:
    def make() -> Any:
        from torch.ao import quantization

        model = nn.Sequential(quantization.QuantStub(), nn.Linear(3, 4), quantization.DeQuantStub()).eval()
        model.qconfig = quantization.get_default_qconfig("fbgemm")
        return quantization.prepare(model)

    model = make()
    model(torch.randn(5, 3))
    hub.push(model, "net")
    before = {name: tensor.clone() for name, tensor in hub.state_dict("net").items()}
    fresh = hub.load("net", model=make())
    assert equal(fresh.state_dict(), model.state_dict())
    fresh(torch.randn(50, 3))
    assert equal(hub.state_dict("net"), before)


@pytest.mark.parametrize("cls", [reading.Completing, reading.Picking])
def test_a_class_that_lets_tensors_keep_what_they_had_is_refused(
    cls: type[nn.Module], hub: registry.Registry, tmp_path: Path
) -> None:
    state = {name: tensor for name, tensor in cls().state_dict().items() if name.startswith("body")}
    with pytest.raises(errors.ClassMismatch, match=r"head\.weight"):
        hub.push(written(tmp_path, state), "net", model=f"reading:{cls.__name__}")
    hub.push(state, "net")
    model = cls()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(errors.MissingTensors, match=r"head\.weight"):
        hub.load("net", model=model)
    assert equal(model.state_dict(), before)
    hub.load("net", model=model, allow_missing=["head.*"])
    assert equal(model.state_dict(), {**before, **state})


def test_what_a_class_sets_by_itself_is_named(hub: registry.Registry) -> None:
    hub.push({name: t for name, t in reading.Two().state_dict().items() if name.startswith("body")}, "net")
    model, report = hub.load("net", model=reading.Zeroing(), report=True)
    assert not model.state_dict()["head.weight"].any()
    assert report.made == ("head.weight", "head.bias")
    assert "computed by the class's own loading: head.weight, head.bias" in str(report)


def test_a_class_that_writes_into_what_it_is_given_is_refused(hub: registry.Registry) -> None:
    hub.push(reading.Two().state_dict(), "net")
    model = reading.Doubling()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(errors.UntouchedTensor, match=r"body\.weight"):
        hub.load("net", model=model)
    assert equal(model.state_dict(), before)


def test_what_keeps_its_own_values_is_named_beside_what_the_class_renames(hub: registry.Registry) -> None:
    state = earlier(reading.Renamed().state_dict())
    hub.push({name: tensor for name, tensor in state.items() if not name.startswith("head")}, "net")
    model = reading.Renamed()
    head = model.head.weight.detach().clone()
    report = hub.load("net", model=model, allow_missing=["head.*"], report=True)[1]
    assert torch.equal(model.head.weight, head) and torch.equal(model.encoder.weight, state["stem.weight"])
    assert report.missing == ("head.weight", "head.bias") and report.renamed["stem.bias"] == "encoder.bias"


def test_no_rename_casts_unasked(hub: registry.Registry) -> None:
    state = earlier(reading.Renamed().state_dict())
    hub.push({**state, "stem.weight": state["stem.weight"].double()}, "net")
    with pytest.raises(errors.DtypeMismatch, match=r"encoder\.weight.*cast=torch\.float32"):
        hub.load("net", model=reading.Renamed())
    model, report = hub.load("net", model=reading.Renamed(), cast=torch.float32, report=True)
    assert torch.equal(model.state_dict()["encoder.weight"], state["stem.weight"])
    assert report.cast == {"encoder.weight": ("float64", "float32")}


def test_old_batch_normalization_without_counters_is_renamed_too(hub: registry.Registry) -> None:
    state = {name: t for name, t in earlier(reading.Renamed().state_dict()).items() if "num_batches" not in name}
    hub.push(state, "net")
    model = reading.Renamed()
    model.get_buffer("norm.num_batches_tracked").fill_(7)
    report = hub.load("net", model=model, report=True)[1]
    assert report.defaulted == ("norm.num_batches_tracked",) and not model.norm.num_batches_tracked


def test_a_live_model_that_does_not_take_its_own_state_dict_says_so_when_it_is_pushed(hub: registry.Registry) -> None:
    notices = hub.push(reading.OneWay(), "net").notices
    assert any("no load takes it as it is" in notice and "Missing key(s)" in notice for notice in notices)
    with pytest.raises(errors.LoadHookFailed, match=r"Missing key\(s\)"):
        hub.load("net")


REFUSED: dict[str, tuple[str, State, str]] = {
    "another dtype": ("Two", {n: t.double() for n, t in reading.Two().state_dict().items()}, "cast=torch.float64"),
    "a class that changes it": ("Doubling", reading.Two().state_dict(), "body.weight"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_file_that_no_load_takes_as_it_is_says_so_when_it_is_pushed(
    why: str, hub: registry.Registry, tmp_path: Path
) -> None:
    cls, state, words = REFUSED[why]
    entry = hub.push(written(tmp_path, state), "net", model=f"reading:{cls}")
    assert any("no load takes it as it is" in notice and words in notice for notice in entry.notices)
    with pytest.raises(errors.FitError):
        hub.load("net")


def test_what_loads_is_pushed_without_a_word_of_that(hub: registry.Registry) -> None:
    for model in (reading.Two(), reading.Bank(2), reading.Renamed(), nn.Sequential(nn.BatchNorm1d(2))):
        assert "no load takes" not in str(hub.push(model, type(model).__name__).notices)


WITH_LOSSES = {
    **reading.Two().state_dict(),
    **{"loss.weight": torch.ones(3), "loss.scale": torch.ones(2), "step": torch.ones(1)},
}


@pytest.mark.parametrize("wrapped", ["bare", "under DDP"])
def test_what_the_class_does_not_have_may_be_left_out_of_a_push(
    wrapped: str, hub: registry.Registry, tmp_path: Path
) -> None:
    file = written(tmp_path, {WRAPPED[wrapped](name): tensor for name, tensor in WITH_LOSSES.items()})
    with pytest.raises(errors.ClassMismatch, match=r"--allow-unexpected 'loss\.\*' --allow-unexpected 'step'"):
        hub.push(file, "net", model="reading:Two")
    entry = hub.push(file, "net", model="reading:Two", allow_unexpected=["loss.*", "step"])
    assert hub.load("net").state_dict().keys() == reading.Two().state_dict().keys()
    assert all(name in str(entry.notices) for name in ("loss", "step"))


def test_what_is_left_out_is_never_one_of_the_class(hub: registry.Registry, tmp_path: Path) -> None:
    entry = hub.push(written(tmp_path, WITH_LOSSES), "net", model="reading:Two", allow_unexpected=["*"])
    assert hub.state_dict("net").keys() == reading.Two().state_dict().keys()
    assert hub.inspect(tmp_path / "file.pth", model="reading:Two", allow_unexpected=["*"]).left_out
    assert entry.tensor_count == 4


def test_a_pattern_that_leaves_nothing_out_is_named(hub: registry.Registry) -> None:
    entry = hub.push(reading.Two().state_dict(), "net", model="reading:Two", allow_unexpected=["los.*"])
    assert any("'los.*'" in notice for notice in entry.notices)


def test_without_a_class_nothing_says_what_is_unexpected(hub: registry.Registry) -> None:
    with pytest.raises(errors.AllowanceWithoutModel, match="--model"):
        hub.push(WITH_LOSSES, "net", allow_unexpected=["loss.*"])
