"""Arrays of numpy: weights where there are no tensors, else offered where they bear more than the tensors do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from contents import is_empty
from deliberate import wrong
from written import saved

import registry
from registry import errors

BIG = {"w": numpy.ones((20, 20), "f4"), "b": numpy.zeros(20, "f4")}
SMALL = {"mean": torch.zeros(3), "std": torch.ones(3)}

FORMS: dict[str, Callable[[dict[str, Any], Path], Any]] = {
    "in memory": lambda contents, folder: contents,
    "in a file": lambda contents, folder: saved(folder / "a.pth", contents),
}
FILES = {
    "a dict of arrays": ({"model": BIG, "mean": torch.zeros(3)}, "model"),
    "beside statistics": ({"model": BIG, "statistics": SMALL}, "model"),
    "nested as in JAX": ({"params": {"a": {"kernel": numpy.ones((9, 9))}, "b": BIG}, "norm": SMALL}, "params"),
    "a list of arrays": ({"layers": [numpy.ones(50), numpy.ones(60)], "norm": SMALL}, "layers"),
    "deep in a list": ({"runs": [{"net": BIG, "lr": 0.1}], "norm": SMALL}, "runs"),
    "one array": ({"model": {"weight": numpy.ones((9, 9))}, "norm": SMALL}, "model"),
    "beside facts of any kind": (
        {
            "net": {**BIG, "device": torch.device("cpu"), "kind": torch.float16, "id": b"a", "lr": numpy.float32(1)},
            "norm": SMALL,
        },
        "net",
    ),
    "loose beside loose tensors": (
        {"mean": torch.zeros(3), "run": {**BIG, "optimizer": {"state": {}, "param_groups": []}}},
        "run",
    ),
    "beside a state dict": ({"net": BIG, "head": {"fc.weight": torch.ones(2, 2)}}, "net"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize(("contents", "named"), FILES.values(), ids=FILES.keys())
def test_a_set_of_arrays_that_bears_more_is_offered(
    contents: dict[str, Any], named: str, form: Any, hub: registry.Registry, tmp_path: Path
) -> None:
    with pytest.raises(errors.SeveralWeightSets, match=rf"'{named}[^']*' \(\d+ arrays? of numpy\)") as refused:
        hub.push(form(contents, tmp_path), "net")
    assert is_empty(hub)
    assert named in "".join(refused.value.counts)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_the_choice_is_the_users_and_what_is_left_is_named(form: Any, hub: registry.Registry, tmp_path: Path) -> None:
    source = form({"model": BIG, "statistics": SMALL}, tmp_path)
    entry = hub.push(source, "net", weights="statistics")
    assert any("'model'" in notice for notice in entry.notices)
    arrays = hub.push(source, "net", weights="model")
    assert any("'statistics'" in notice for notice in arrays.notices)
    assert not any("'model'" in notice for notice in arrays.notices)
    assert_same(hub.state_dict(arrays.ref), BIG)


def assert_same(tensors: dict[str, torch.Tensor], arrays: dict[str, Any]) -> None:
    for name, array in arrays.items():
        assert tensors[name].numpy().dtype == array.dtype.newbyteorder("<")
        assert tensors[name].numpy().tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
        assert tensors[name].shape == array.shape


def test_small_arrays_beside_a_model_are_named_and_no_question(hub: registry.Registry) -> None:
    contents = {"model": {"fc.weight": torch.ones(9, 9)}, "history": {"loss": numpy.ones(8)}}
    entry = hub.push(contents, "net")
    assert any("'history'" in notice for notice in entry.notices)


def test_a_model_that_fits_is_checked_against_the_tensors(hub: registry.Registry, tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    torch.save({"old": BIG, "new": model.state_dict()}, tmp_path / "both.pth")
    assert hub.check(model, tmp_path / "both.pth").is_equal


def optimizer_of_arrays() -> dict[str, Any]:
    return {"state": {0: {"exp_avg": numpy.ones(500)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("beside", [
    {"net.fc._extra_state": {"a": numpy.ones(500)}}, {"optimizer": optimizer_of_arrays()},
    {"training": {"optimizer": optimizer_of_arrays()}}, {"labels": {"ids": numpy.arange(500)}},
    {"scalars": [numpy.float64(0.5)] * 500}, {"single": {str(i): numpy.ones(1) for i in range(50)}},
], ids=["extra state", "optimizer", "nested optimizer", "whole numbers", "scalars", "single numbers"])  # fmt: skip
def test_arrays_that_no_model_has_raise_no_question(
    form: Any, beside: dict[str, Any], hub: registry.Registry, tmp_path: Path
) -> None:
    extra = {name.removeprefix("net."): value for name, value in beside.items() if name.startswith("net.")}
    rest = {name: value for name, value in beside.items() if not name.startswith("net.")}
    contents = {"model": {"fc.weight": torch.ones(2, 2), **extra}, **rest}
    assert hub.push(form(contents, tmp_path), "net").tensor_count == 1


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_set_that_stands_there_twice_is_one_choice(form: Any, hub: registry.Registry, tmp_path: Path) -> None:
    with pytest.raises(errors.SeveralWeightSets) as refused:
        hub.push(form({"a": BIG, "b": BIG, "norm": SMALL}, tmp_path), "net")
    assert sorted(refused.value.counts) == ["a", "norm"]


def test_few_arrays_among_many_weights_are_named_as_any_value(hub: registry.Registry) -> None:
    [notice] = hub.push({"a.weight": torch.ones(50), "anchors": numpy.ones(3)}, "net").notices
    assert "'anchors'" in notice and "numpy" not in notice


def test_arrays_by_number_are_no_weights(hub: registry.Registry) -> None:
    with pytest.raises(errors.EmptyCheckpoint, match="'0', '1'"):
        hub.push(wrong({0: numpy.ones(3), 1: numpy.ones(4)}), "net")


class Lying:
    """Pickled as an array of numpy that says something else of itself."""

    def __init__(self, shape: tuple[int, ...], data: bytes = b"1234") -> None:
        self.says = shape, data

    def __reduce__(self) -> tuple[Any, ...]:
        reduced: Any = numpy.zeros(1).__reduce__()
        make, made = reduced[:2]
        return make, made, (1, self.says[0], numpy.dtype("f4"), False, self.says[1])


@pytest.mark.parametrize("lie", [Lying((3,)), Lying((), b"12"), Lying((-1, -1)), Lying((1,) * 65)])
def test_an_array_that_is_not_what_it_says_is_damage(lie: Lying, hub: registry.Registry, tmp_path: Path) -> None:
    torch.save({"model": {"fc.weight": torch.ones(2, 2)}, "x": lie}, tmp_path / "a.pth")
    with pytest.raises(errors.DamagedCheckpoint, match="array of numpy"):
        hub.push(tmp_path / "a.pth", "net")


@pytest.mark.parametrize("shape", [(1025, 1024), (7, 1, 5, 2), (64, 32, 3, 3), (300, 2), (2,) * 9, (3, 0, 2)])
def test_an_array_in_column_major_order_is_read_as_what_it_says(
    shape: tuple[int, ...], hub: registry.Registry, tmp_path: Path
) -> None:
    numbers = numpy.random.default_rng(0).random(shape)
    arrays = {
        code: numpy.asfortranarray((numbers * 100).astype(code)) for code in ("f4", "f8", "i2", "u1", "c8", ">f4")
    }
    torch.save({**arrays, "w": numpy.ones((2, 2))}, tmp_path / "a.pth")
    assert_same(hub.state_dict(hub.push(tmp_path / "a.pth", "net").ref), arrays)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("place", ["", "model", "global/params"])
def test_a_dict_of_arrays_is_stored_as_the_tensors_of_the_same_values(
    form: Any, place: str, hub: registry.Registry, tmp_path: Path
) -> None:
    arrays = {"fc.weight": BIG["w"], "fc.bias": BIG["b"], "fc.steps": numpy.array(7)}
    contents: dict[str, Any] = arrays
    for key in reversed(place.split("/") if place else []):
        contents = {key: contents, "round": 3, "history": {"loss": numpy.ones(5)}}
    entry = hub.push(form(contents, tmp_path), "net")
    assert_same(hub.state_dict(entry.ref), arrays)
    assert any("arrays of numpy" in notice for notice in entry.notices)
    assert any("history" in notice for notice in entry.notices) == bool(place)
    tensors = {name: torch.as_tensor(array) for name, array in arrays.items()}
    assert hub.push(tensors, "net").ref == entry.ref


def test_what_a_training_notes_in_arrays_is_no_model(hub: registry.Registry, tmp_path: Path) -> None:
    torch.save({"loss": numpy.ones(50), "accuracy": numpy.ones(50)}, tmp_path / "history.pth")
    with pytest.raises(errors.ArraysOfNumpy, match=r"torch\.as_tensor"):
        hub.push(tmp_path / "history.pth", "net")


def test_two_sets_of_arrays_are_a_choice(hub: registry.Registry, tmp_path: Path) -> None:
    torch.save({"server": BIG, "client": {"w": numpy.eye(3)}}, tmp_path / "a.pth")
    with pytest.raises(errors.SeveralWeightSets, match=r"'server' .*'client'"):
        hub.push(tmp_path / "a.pth", "net")
    assert_same(hub.state_dict(hub.push(tmp_path / "a.pth", "net", weights="client").ref), {"w": numpy.eye(3)})


def test_arrays_among_the_weights_are_values_and_said_to_be(hub: registry.Registry) -> None:
    entry = hub.push({"a.weight": numpy.ones(50), "a.bias": torch.zeros(3)}, "net")
    assert any("'a.weight' is an array of numpy" in notice for notice in entry.notices)


def test_an_array_of_a_kind_that_is_not_read_is_said(hub: registry.Registry) -> None:
    odd = {"z": numpy.ones(4, "complex128"), "o": numpy.array([torch.ones(3), None], dtype=object)}
    entry = hub.push({"model": {"fc.weight": torch.ones(9, 9)}, "odd": odd, "dates": numpy.zeros(3, "M8[D]")}, "net")
    assert any("complex128" in notice and "datetime64" in notice for notice in entry.notices)
    assert any("'odd'" in notice for notice in entry.notices)


def test_a_list_that_contains_itself_is_no_set_of_arrays(hub: registry.Registry) -> None:
    endless: list[Any] = [numpy.ones(500)]
    endless.append(endless)
    assert hub.push({"model": {"fc.weight": torch.ones(2, 2)}, "endless": endless}, "net").tensor_count == 1
