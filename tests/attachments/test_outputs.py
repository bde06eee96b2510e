"""Whether a version still computes the same."""

from __future__ import annotations

import importlib
import random
from pathlib import Path

import pytest
import torch
from computing_nets import Activated, AlwaysDropping, InPlace, Nested, Scaled, Widened
from contents import is_empty
from nets import PointNet, Tied
from safetensors.torch import save_file
from torch import nn

from registry import Registry
from registry.attachments.examples.example import random_example, read_example
from registry.errors import (
    ExampleFailed,
    ExampleNeedsClass,
    NoExample,
    OutputsDiffer,
    OutputsVary,
    UnusableExample,
)

INPUTS = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Activated()


def saved(model: nn.Module, folder: Path) -> Path:
    path = folder / "model.pth"
    torch.save(model.state_dict(), path)
    return path


@pytest.mark.parametrize("live", [True, False])
def test_a_version_with_an_example_is_loaded_with_its_outputs_verified(
    hub: Registry, net: nn.Module, tmp_path: Path, live: bool
) -> None:
    hub.push(net if live else saved(net, tmp_path), "net", model="computing_nets:Activated", example=INPUTS)
    loaded = hub.load("net", verify="outputs")
    assert torch.equal(loaded(INPUTS), net(INPUTS))


def test_one_example_pushed_from_memory_and_from_a_file_is_one_version(
    hub: Registry, net: nn.Module, tmp_path: Path
) -> None:
    first = hub.push(net, "net", model="computing_nets:Activated", example=INPUTS)
    again = hub.push(saved(net, tmp_path), "net", model="computing_nets:Activated", example=INPUTS)
    assert again.reused and again.version == first.version


def test_a_changed_activation_is_found(hub: Registry, net: nn.Module) -> None:
    hub.push(net, "net", model="computing_nets:Activated", example=INPUTS)
    with pytest.raises(OutputsDiffer, match=r"'output' is .* instead of .* at \[\d, \d\]"):
        hub.load("net", init={"slope": 0.2}, verify="outputs")


def test_a_lost_tie_is_found(hub: Registry) -> None:
    ids = torch.tensor([[1, 2, 3]])
    hub.push(Tied(), "net", model="nets:Tied", example=ids)
    untied = Tied(tie=False)
    hub.load("net", model=untied, allow_missing=["head.weight"])
    with torch.no_grad():
        untied.head.weight.normal_()
    entry = hub.get("net")
    assert not hub.replay(entry.ref, model=untied).agrees
    assert hub.replay(entry.ref).agrees


def test_a_garbage_buffer_that_no_state_dict_has_is_found(hub: Registry) -> None:
    hub.push(Scaled(), "net", model="computing_nets:Scaled", example=INPUTS)
    garbage = Scaled()
    garbage.scale.fill_(float("nan"))
    with pytest.raises(OutputsDiffer, match="nan instead of"):
        hub.load("net", model=garbage, verify="outputs")


def test_permuted_rows_are_found(hub: Registry, net: nn.Module) -> None:
    entry = hub.push(net, "net", model="computing_nets:Activated", example=INPUTS)
    with torch.no_grad():
        weight = net.get_parameter("outer.weight")
        weight.copy_(weight[[1, 0, 2]])
    assert not hub.replay(entry.ref, model=net).agrees


@pytest.mark.in_a_folder
def test_a_changed_source_is_named(hub: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "from torch import nn\nclass Changing(nn.Linear):\n    def forward(self, x):\n        return super().forward(x)"
    )
    file = tmp_path / "changing_net.py"
    file.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    changing_net = importlib.import_module("changing_net")

    entry = hub.push(changing_net.Changing(4, 2), "net", example=INPUTS)
    file.write_text(source + ".relu()\n")
    replay = hub.replay(entry.ref, model=changing_net.Changing(4, 2))
    assert replay.changed_sources == ("changing_net.Changing",)
    with pytest.raises(OutputsDiffer, match=r"torch 2.*the source has changed since of changing_net.Changing"):
        replay.require()


def test_a_mismatch_leaves_the_callers_model_as_it_was(hub: Registry, net: nn.Module) -> None:
    hub.push(net, "net", model="computing_nets:Activated", example=INPUTS)
    mine = Activated(slope=0.3)
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    with pytest.raises(OutputsDiffer):
        hub.load("net", model=mine, verify="outputs")
    assert all(torch.equal(tensor, before[name]) for name, tensor in mine.state_dict().items())


def test_a_model_that_varies_in_eval_mode_is_refused_and_nothing_stored(hub: Registry) -> None:
    with pytest.raises(OutputsVary, match="other outputs each time"):
        hub.push(AlwaysDropping(), "net", example=INPUTS)
    assert is_empty(hub)


def test_running_an_example_leaves_modes_generators_and_inputs_alone(hub: Registry, net: nn.Module) -> None:
    net.train()
    net.get_submodule("inner").eval()
    inputs = INPUTS.clone()
    before = torch.get_rng_state(), random.getstate()
    hub.push(net, "net", example=inputs)
    inner, outer = net.get_submodule("inner"), net.get_submodule("outer")
    assert net.training and outer.training and not inner.training
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
    assert torch.equal(inputs, INPUTS)


def test_nested_outputs_of_keyword_inputs_are_compared_by_path(hub: Registry) -> None:
    example = {"ids": torch.tensor([[1, 2], [3, 4]]), "weights": torch.randn(4, 3)}
    net = Nested()
    entry = hub.push(net, "net", model="computing_nets:Nested", example=example)
    assert hub.replay(entry.ref).agrees
    with torch.no_grad():
        net.get_buffer("norm.running_mean").add_(1)
    deviation = hub.replay(entry.ref, model=net).deviation
    assert deviation is not None and deviation.path in ("logits", "hidden/0", "hidden/1")


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.optim.swa_utils.AveragedModel])
def test_a_wrapped_model_is_run_without_its_wrapper(hub: Registry, net: nn.Module, wrap: type[nn.Module]) -> None:
    hub.push(wrap(net), "net", model="computing_nets:Activated", example=INPUTS)
    assert hub.replay("net").agrees


def test_a_cast_model_is_compared_with_the_tolerance_of_its_dtype(hub: Registry, net: nn.Module) -> None:
    hub.push(net, "net", model="computing_nets:Activated", example=INPUTS)
    model = hub.load("net", cast=torch.bfloat16, verify="outputs")
    assert model.get_parameter("inner.weight").dtype == torch.bfloat16


def test_the_noise_of_bfloat16_is_allowed_for_in_a_float32_output(hub: Registry) -> None:
    net = Widened()
    hub.push(net, "net", example=INPUTS)
    with torch.no_grad():
        net.inner.weight *= 1.01
    assert hub.replay("net", model=net).agrees
    with torch.no_grad():
        net.inner.weight *= 1.2
    assert not hub.replay("net", model=net).agrees


def test_a_model_that_writes_to_its_inputs_gets_the_same_ones_each_time(hub: Registry) -> None:
    inputs = INPUTS.clone()
    hub.push(InPlace(), "net", model="computing_nets:InPlace", example=inputs)
    assert torch.equal(inputs, INPUTS) and hub.replay("net").agrees


def test_a_version_without_an_example_cannot_be_verified_by_outputs(hub: Registry, net: nn.Module) -> None:
    hub.push(net, "net", model="computing_nets:Activated")
    with pytest.raises(NoExample, match="example=inputs"):
        hub.load("net", verify="outputs")


def test_an_example_for_bare_tensors_asks_for_their_class(hub: Registry, net: nn.Module) -> None:
    with pytest.raises(ExampleNeedsClass, match="--model"):
        hub.push(net.state_dict(), "net", example=INPUTS)


def test_inputs_that_the_model_does_not_take_are_refused_with_its_own_words(hub: Registry, net: nn.Module) -> None:
    with pytest.raises(ExampleFailed, match="Activated cannot be called with the example: RuntimeError"):
        hub.push(net, "net", example=torch.zeros(2, 9))


@pytest.mark.parametrize("inputs", [3, [torch.zeros(1)], (), {}, {"a b": torch.zeros(1)}, (torch.zeros(1), 2)])
def test_what_is_no_example_is_refused(hub: Registry, net: nn.Module, inputs: object) -> None:
    with pytest.raises(UnusableExample, match="give a tensor, a tuple of tensors, or a dict"):
        hub.push(net, "net", example=inputs)


def test_an_example_is_read_from_a_safetensors_file(tmp_path: Path) -> None:
    save_file({"0": torch.ones(2), "1": torch.zeros(3), "mask": torch.ones(1)}, tmp_path / "example.safetensors")
    example = read_example(tmp_path / "example.safetensors")
    assert [t.shape[0] for t in example.args] == [2, 3] and list(example.kwargs) == ["mask"]


def test_a_random_example_is_the_same_for_a_seed(hub: Registry) -> None:
    first, again = random_example([(1, 3, 8)], seed=7), random_example([(1, 3, 8)], seed=7)
    assert torch.equal(first.args[0], again.args[0])
    entry = hub.push(PointNet(), "net", model="nets:PointNet", example=first)
    assert hub.replay(entry.ref).agrees


def test_the_tensors_of_an_example_are_checked_too(hub: Registry, net: nn.Module) -> None:
    entry = hub.push(net, "net", model="computing_nets:Activated", example=INPUTS)
    weights = {tensor.location.blob for tensor in hub.catalog.manifest_and_documents(entry)[0].tensors.values()}
    for path in (hub.home / "blobs").glob("??/*.safetensors"):
        if path.stem not in weights:
            path.chmod(0o644)
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)
    hub.load("net")
    with pytest.raises(Exception, match="bytes"):
        hub.load("net", verify="outputs")


def test_an_audit_runs_every_example_that_there_is(hub: Registry, net: nn.Module) -> None:
    hub.push(net, "net", model="computing_nets:Activated", example=INPUTS)
    hub.push(Scaled(), "plain", model="computing_nets:Scaled")
    report = hub.audit(run=True)
    assert report.is_clean and report.examples == 1 and hub.audit().examples == 0


def test_an_audit_names_the_version_that_computes_otherwise(
    hub: Registry, net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.push(net, "net", model="computing_nets:Activated", example=INPUTS)
    monkeypatch.setattr(nn.functional, "leaky_relu", lambda inputs, slope: inputs.sigmoid())
    (fault,) = hub.audit(run=True).faults
    assert fault.ref == "net:v1" and fault.kind == "outputs" and "instead of" in fault.what


def test_an_audit_says_which_examples_it_could_not_run(hub: Registry, net: nn.Module) -> None:
    hub.push(net, "net", model="computing_nets:Activated", example=INPUTS)
    hub.push(nn.Linear(4, 2), "unknown", example=INPUTS)
    report = hub.audit(run=True)
    assert report.is_clean and report.unchecked_outputs[0].startswith("unknown:v1")
