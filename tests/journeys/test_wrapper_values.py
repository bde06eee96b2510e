"""What a wrapper owns comes back: the same wrapper at the same path gets it, and elsewhere the report says so."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from deliberate import wrong
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper
from torch.nn.parallel import DataParallel
from torch.optim.swa_utils import AveragedModel

import registry
from registry import errors

FIXTURES = Path(__file__).with_name("fixtures")


class Teacher(nn.Module):
    """A student, and its average as a part of the same model."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 2)
        self.ema = AveragedModel(self.net)


class Tempered(DataParallel):
    """Scales what the model inside computes, by parameters, a layer and a count of its own."""

    calls: torch.Tensor

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.temperature = nn.Parameter(torch.ones(3))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.gate = nn.Linear(2, 1)
        self.seen = 0

    def get_extra_state(self) -> dict[str, int]:
        return {"seen": self.seen}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.seen = state["seen"]


class Counted(CheckpointWrapper):
    """A wrapper that leaves no trace in the names, and counts."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module, wrong(lambda function, *args, **kwargs: function(*args, **kwargs)))
        self.register_buffer("calls", torch.zeros(()))


def compiled(module: nn.Module) -> Any:
    return torch.compile(module)


def averaged(module: nn.Module, steps: int = 3) -> AveragedModel:
    average = AveragedModel(module)
    for _ in range(steps):
        average.update_parameters(module)
    return average


def tempered(module: nn.Module) -> Tempered:
    wrapped = Tempered(module)
    nn.init.uniform_(wrapped.temperature)
    wrapped.calls.fill_(7)
    wrapped.seen = 9
    return wrapped


def state(module: nn.Module) -> dict[str, object]:
    return {n: t.tolist() if isinstance(t, torch.Tensor) else t for n, t in module.state_dict().items()}


WRAPPED: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "average": (averaged, AveragedModel),
    "average of parallel": (lambda m: averaged(DataParallel(m)), lambda m: AveragedModel(DataParallel(m))),
    "parallel average": (lambda m: DataParallel(averaged(m)), lambda m: DataParallel(AveragedModel(m))),
    "compiled average": (lambda m: torch.compile(averaged(m)), lambda m: torch.compile(AveragedModel(m))),
    "average of an average": (lambda m: averaged(averaged(m, 2), 5), lambda m: AveragedModel(AveragedModel(m))),
    "a subclass": (tempered, Tempered),
    "a subclass inside": (
        lambda m: nn.Sequential(tempered(m), nn.ReLU()),
        lambda m: nn.Sequential(Tempered(m), nn.ReLU()),
    ),
    "an average inside": (
        lambda m: nn.Sequential(averaged(m), nn.ReLU()),
        lambda m: nn.Sequential(AveragedModel(m), nn.ReLU()),
    ),
}


@pytest.mark.parametrize("way", WRAPPED)
def test_the_same_wrapper_gets_back_what_it_owned(way: str, hub: registry.Registry) -> None:
    trained, fresh = WRAPPED[way]
    saved, loaded = trained(nn.Linear(2, 2)), fresh(nn.Linear(2, 2))
    hub.push(saved, "net")

    _, report = hub.load("net", model=loaded, report=True)

    assert state(loaded) == state(saved)
    assert report.not_used == ()


@pytest.mark.parametrize("way", [way for way in WRAPPED if "subclass" not in way])
@pytest.mark.parametrize("with_class", [False, True])
def test_a_file_of_a_wrapped_model_gives_the_wrapper_what_it_owned(
    way: str, with_class: bool, hub: registry.Registry, tmp_path: Path
) -> None:
    trained, fresh = WRAPPED[way]
    saved, loaded = trained(nn.Linear(2, 2)), fresh(nn.Linear(2, 2))
    torch.save(saved.state_dict(), tmp_path / "net.pth")
    judge: dict[str, Any] = {"model": "torch.nn:Linear", "init": {"in_features": 2, "out_features": 2}}
    hub.push(tmp_path / "net.pth", "net", **(judge if with_class and "inside" not in way else {}))

    hub.load("net", model=loaded)

    assert state(loaded) == state(saved)


def test_an_average_inside_a_model_goes_on_as_if_never_interrupted(hub: registry.Registry, tmp_path: Path) -> None:
    saved = Teacher()
    for _ in range(2):
        saved.ema.update_parameters(saved.net)
    torch.save(saved.state_dict(), tmp_path / "teacher.pth")
    live, file = hub.push(saved, "live"), hub.push(tmp_path / "teacher.pth", "file", weights=".")
    for ref in (live.ref, file.ref):
        loaded = Teacher()
        hub.load(ref, model=loaded)
        assert loaded.ema.n_averaged == 2


class Twice(nn.Module):
    """Has one wrapped part at two places, and in another one."""

    def __init__(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        part = nn.Linear(2, 2)
        self.a = wrap(part)
        self.list = nn.ModuleList([self.a, nn.Sequential(self.a)])
        self.bare = part


@pytest.mark.parametrize("wrap", [DataParallel, torch.compile, averaged, lambda m: DataParallel(compiled(m)), tempered])
def test_a_wrapped_part_is_unwrapped_wherever_it_stands(wrap, hub: registry.Registry) -> None:
    wrapped, bare = Twice(wrap), Twice(lambda part: part)
    inside = wrapped.a
    while (child := next(iter(inside.children()), None)) is not None:
        inside = child
    for part in (bare.a, wrapped.bare, inside):
        part.load_state_dict({"weight": torch.arange(4.0).reshape(2, 2), "bias": torch.ones(2)})

    assert hub.push(wrapped, "net").digest == hub.push(bare, "bare").digest

    loaded = Twice(wrap)
    hub.load("net", model=loaded)
    assert state(loaded) == state(wrapped)


def test_resuming_gives_the_wrapper_what_it_owned(hub: registry.Registry) -> None:
    saved, loaded = averaged(nn.Linear(2, 2)), AveragedModel(nn.Linear(2, 2))
    hub.push(saved, "net", optimizer=torch.optim.SGD(saved.parameters(), 0.1))

    hub.resume("net", loaded, torch.optim.SGD(loaded.parameters(), 0.1))

    assert loaded.n_averaged == 3


def test_a_wrapper_that_hides_its_component_gets_back_what_it_owned(hub: registry.Registry) -> None:
    saved, bare = nn.Sequential(Counted(nn.Linear(2, 2))), nn.Sequential(nn.Linear(2, 2))
    saved.get_buffer("0.calls").fill_(5)
    bare.load_state_dict({n: t for n, t in saved.state_dict().items() if "calls" not in n})
    loaded = nn.Sequential(Counted(nn.Linear(2, 2)))

    entry = hub.push(saved, "net")
    hub.load("net", model=loaded)

    assert entry.digest == hub.push(bare, "bare").digest
    assert loaded[0].calls == 5


@pytest.mark.parametrize(
    ("target", "named"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 2)), "0.n_averaged"),
        (lambda: nn.Sequential(DataParallel(nn.Linear(2, 2))), "0.n_averaged"),
        (lambda: AveragedModel(nn.Sequential(nn.Linear(2, 2))), "0.n_averaged"),
    ],
)
def test_elsewhere_the_report_names_what_is_not_used(target, named: str, hub: registry.Registry) -> None:
    hub.push(nn.Sequential(averaged(nn.Linear(2, 2))), "net")

    model, report = hub.load("net", model=target(), report=True)

    assert report.not_used == (named,) and f"not used: {named}" in str(report)
    assert getattr(model, "n_averaged", 0) == 0


def test_a_wrapper_of_which_the_entry_knows_nothing_keeps_its_own(hub: registry.Registry) -> None:
    hub.push(nn.Linear(2, 2), "net")
    loaded = tempered(nn.Linear(2, 2))
    before = loaded.temperature.tolist()

    _, report = hub.load("net", model=loaded, report=True)

    assert loaded.temperature.tolist() == before
    assert "kept by the wrapper" in str(report) and "temperature" in str(report)


def test_another_count_is_another_version_of_the_same_weights(hub: registry.Registry) -> None:
    net = nn.Linear(2, 2)
    two, three, again = (hub.push(averaged(net, steps), "net") for steps in (2, 3, 3))

    assert two.digest == three.digest == hub.push(net, "bare").digest
    assert two.record_digest != three.record_digest
    assert again.ref == three.ref and again.reused
    assert hub.audit().is_clean


def test_a_value_of_another_shape_is_refused_and_nothing_is_changed(hub: registry.Registry) -> None:
    hub.push(tempered(nn.Linear(2, 2)), "net")
    other = Tempered(nn.Linear(2, 2))
    other.temperature = nn.Parameter(torch.zeros(4))
    before = state(other)

    with pytest.raises(errors.ShapeMismatch, match="temperature"):
        hub.load("net", model=other)
    assert state(other) == before
    hub.load("net", model=other, allow_shape=["temperature"])
    assert other.seen == 9 and other.temperature.tolist() == [0.0] * 4


def test_a_wrapper_that_refuses_its_state_leaves_everything_as_it_was(hub: registry.Registry) -> None:
    class Refusing(Tempered):
        def set_extra_state(self, state: dict[str, int]) -> None:
            self.seen = -1
            raise ValueError("no")

    hub.push(tempered(nn.Linear(2, 2)), "net")
    other = Refusing(nn.Linear(2, 2))
    before = state(other)

    with pytest.raises(errors.ExtraStateRefused):
        hub.load("net", model=other)
    assert state(other) == before


def test_what_was_saved_is_exported_with_the_wrappers_own(hub: registry.Registry, tmp_path: Path) -> None:
    saved = tempered(nn.Linear(2, 2))
    hub.push(saved, "net")

    out = torch.load(hub.export("net", tmp_path / "out.pth", format="as-saved"), weights_only=True)

    assert {n: t.tolist() if isinstance(t, torch.Tensor) else t for n, t in out.items()} == state(saved)


@pytest.mark.parametrize("name", ["whole", "part"])
def test_versions_of_the_first_schema_give_back_what_they_set_aside(name: str, tmp_path: Path) -> None:
    with tarfile.open(FIXTURES / "averages-0001.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    hub = registry.Registry(tmp_path / "home")
    model = Teacher() if name == "part" else AveragedModel(nn.Linear(2, 2))

    hub.load(name, model=model)

    assert model.get_buffer("ema.n_averaged" if name == "part" else "n_averaged") == 3
    assert hub.audit().is_clean
