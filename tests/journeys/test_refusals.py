"""Refusals that no other test meets: each by its class, with the word that helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from contents import is_empty
from nets import Counting, OnlyChild, PointNet, Tied

import registry
from registry import errors


def test_values_that_differ_where_the_class_ties_are_refused(hub: registry.Registry) -> None:
    with pytest.raises(errors.ContradictedTie, match=r"embed\.weight.*head\.weight"):
        hub.push(dict(Tied(tie=False).state_dict()), "net", model="nets:Tied")
    assert is_empty(hub)


def test_an_unknown_export_format_names_the_known_ones(hub: registry.Registry, tmp_path: Path) -> None:
    with pytest.raises(errors.UnknownFormat, match="as-saved"):
        hub.export("net", tmp_path / "out", format="onnx")


def test_an_unknown_set_of_weights_names_those_there_are(hub: registry.Registry, tmp_path: Path) -> None:
    torch.save({"model": OnlyChild().state_dict()}, tmp_path / "net.pth")
    with pytest.raises(errors.UnknownWeightSet, match=r"'model' \(2 tensors\)"):
        hub.push(tmp_path / "net.pth", weights="ema")


def test_an_object_in_memory_needs_a_name(hub: registry.Registry) -> None:
    with pytest.raises(errors.NameNeeded, match="give one"):
        hub.push(OnlyChild())


def test_a_version_without_a_class_says_what_to_give(hub: registry.Registry) -> None:
    hub.push(dict(OnlyChild().state_dict()), "net")
    with pytest.raises(errors.ModelNeeded, match="model=Net"):
        hub.load("net")


def test_an_init_argument_without_a_plain_form_is_refused() -> None:
    with pytest.raises(errors.UnstorableInit, match="activation"):
        registry.remember(PointNet(), num_classes={"activation": torch.relu})


def test_a_file_that_changes_while_it_is_read_is_not_stored(hub: registry.Registry, tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    torch.save(PointNet().state_dict(), file)

    def touch(done: int, total: int) -> None:
        file.touch()

    with pytest.raises(errors.ChangedCheckpoint, match="changed while"):
        hub.push(file, progress=touch)
    assert is_empty(hub)


def test_training_state_needs_the_live_model(hub: registry.Registry) -> None:
    with pytest.raises(errors.JobNeedsModel, match="live model"):
        hub.push(dict(OnlyChild().state_dict()), "net", epoch=3)


def test_a_scheduler_that_does_not_take_its_state_changes_nothing(hub: registry.Registry) -> None:
    class Strict:
        def __init__(self) -> None:
            self.state = {"a": 1}

        def state_dict(self) -> dict[str, int]:
            return self.state

        def load_state_dict(self, state: dict[str, int]) -> None:
            if state != self.state:
                raise ValueError("expected another state")

    hub.push(OnlyChild(), "net", scheduler=Strict())
    model, scheduler = OnlyChild(), Strict()
    scheduler.state = {"a": 2}
    before = model.module.weight.detach().clone()
    with pytest.raises(errors.StateRefused, match="expected another state"):
        hub.resume("net", model, scheduler=scheduler)
    assert torch.equal(model.module.weight, before)


def test_a_class_whose_own_loading_raises_is_named(hub: registry.Registry) -> None:
    class Refusing(OnlyChild):
        def _load_from_state_dict(self, *arguments: object) -> None:
            raise ValueError("not like this")

    hub.push(OnlyChild(), "net")
    with pytest.raises(errors.LoadHookFailed, match="not like this"):
        hub.load("net", model=Refusing())


def test_a_blob_that_cannot_be_read_is_named(hub: registry.Registry) -> None:
    hub.push(Counting(), "net")
    blob = next((hub.home / "blobs").rglob("*.safetensors"))
    blob.unlink()
    with pytest.raises(errors.DamagedBlob, match=r"missing.*audit --repair"):
        hub.state_dict("net")


def test_a_lazy_layer_that_never_ran_is_refused_in_words(hub: registry.Registry) -> None:
    with pytest.raises(errors.UnstorableTensor, match="run the model once"):
        hub.push(torch.nn.Sequential(torch.nn.LazyLinear(2)), "net")


class Laid(torch.nn.Linear):
    def get_extra_state(self) -> object:
        return torch.strided

    def set_extra_state(self, state: object) -> None:
        self.laid = state


def test_a_layout_in_an_extra_state_comes_back_from_a_file(hub: registry.Registry, tmp_path: Path) -> None:
    torch.save(Laid(2, 2).state_dict(), tmp_path / "net.pth")
    hub.push(tmp_path / "net.pth", "net")
    model = Laid(2, 2)
    hub.load("net", model=model)
    assert model.laid is torch.strided


class Plain(torch.nn.Parameter):
    """A parameter by another name, which torch saves as one."""


class Own(torch.Tensor):
    """A tensor of a class of its own."""


class Halved(torch.nn.Parameter):
    """Stands for twice the numbers in its memory, and so do the tensors that are made of it."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*args, **(kwargs or {}))
        return result.as_subclass(cls) if function is torch.Tensor.detach else result


class Coded(torch.nn.Parameter):
    """Says in an attribute what its numbers mean."""

    scale: float

    def __new__(cls, data: torch.Tensor) -> Coded:
        coded: Any = torch.Tensor._make_subclass(cls, data, False)
        coded.scale = 2.0
        return coded


MEANING_MORE: dict[str, Callable[[], Any]] = {
    "a tensor in a dict": lambda: {"weight": torch.ones(3).as_subclass(Own)},
    "a buffer": lambda: holding(torch.ones(3).as_subclass(Own)),
    "a parameter that computes otherwise": lambda: holding(Halved(torch.ones(3))),
    "a parameter with a scale": lambda: {"weight": Coded(torch.ones(3))},
}


def holding(tensor: torch.Tensor) -> torch.nn.Module:
    module = torch.nn.Module()
    if isinstance(tensor, torch.nn.Parameter):
        module.register_parameter("weight", tensor)
    else:
        module.register_buffer("weight", tensor)
    return module


@pytest.mark.parametrize("what", MEANING_MORE)
def test_a_tensor_that_may_mean_more_than_its_memory_is_refused_live(what: str, hub: registry.Registry) -> None:
    with pytest.raises(errors.UnstorableTensor, match=r"'weight' is an? \w+ and cannot be stored.*as_subclass"):
        hub.push(MEANING_MORE[what](), "net")


def test_a_tensor_of_a_class_of_its_own_is_refused_in_a_file(hub: registry.Registry, tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3).as_subclass(Own)}, tmp_path / "own.pth")
    with pytest.raises(errors.UnstorableTensor, match=r"'weight' is a .*Own"):
        hub.push(tmp_path / "own.pth", "net")


def test_a_class_of_parameters_that_changes_nothing_is_a_parameter(hub: registry.Registry) -> None:
    marked = torch.nn.Parameter(torch.ones(3))
    marked.no_weight_decay = True  # type: ignore[attr-defined]
    for tensor in (Plain(torch.ones(3)), marked, torch.nn.Buffer(torch.ones(3))):
        hub.push(holding(tensor), "net", force_new=True)
        hub.push({"weight": tensor}, "net", force_new=True)
    assert torch.equal(hub.state_dict("net")["weight"], torch.ones(3))


def test_a_name_that_cannot_be_written_is_refused(hub: registry.Registry) -> None:
    lone = "head\ud800"
    module = torch.nn.ModuleDict({lone: torch.nn.Linear(2, 2)})
    for source in (
        module,
        {lone: torch.ones(2)},
        {"w": torch.ones(2), lone: 3},
        {"model": {f"a.{lone}": torch.ones(2)}},
    ):
        with pytest.raises(errors.UnwritableName, match="not valid Unicode"):
            hub.push(source, "net")
    for name in ("__metadata__", "module.__metadata__"):
        with pytest.raises(errors.UnwritableName, match="safetensors"):
            hub.push({name: torch.ones(2), name.replace("__metadata__", "w"): torch.ones(2)}, "net")
    states = {"a": {"w": torch.ones(2)}, "b": {"w": torch.ones(2)}}
    for part in (lone, 1):
        with pytest.raises(errors.BadPartName):
            hub.push(states, "net", weights={part: "a", "b": "b"})  # type: ignore[dict-item]
    assert is_empty(hub)


def test_tensors_among_keys_that_are_no_text_are_not_called_nothing(hub: registry.Registry) -> None:
    sources: list[Any] = [{"w": torch.ones(2), 1: torch.ones(2)}, {"model": {(0, 1): torch.ones(2)}}]
    for source in sources:
        with pytest.raises(errors.EmptyCheckpoint, match=r"the key (1|\(0, 1\)) is not text"):
            hub.push(source, "net")
