"""Which names of a file are compared with which of a model, where the two need not agree."""

from __future__ import annotations

from hypothesis import given, strategies as st

from registry.canonical.expectation import Expectation
from registry.canonical.nearest import leftover, nearest, owners
from registry.tensors.spec import TensorSpec

COMPONENT = st.sampled_from(["module", "model", "net", "head", "0", "weight", "bias", "_orig_mod"])
NAMES = st.lists(st.lists(COMPONENT, min_size=1, max_size=4).map(".".join), min_size=1, max_size=8, unique=True)


def wanting(names: list[str]) -> Expectation:
    return Expectation({name: TensorSpec("float32", (2,)) for name in names})


@given(NAMES)
def test_a_models_own_names_are_left_as_they_are(names: list[str]) -> None:
    reading = nearest(names, wanting(names))
    assert [reading.bare(name) for name in names] == names


@given(NAMES, st.sampled_from(["module", "_orig_mod", "anything"]))
def test_what_was_put_in_front_of_every_name_is_taken_away(names: list[str], component: str) -> None:
    wrapped = [f"{component}.{name}" for name in names]
    reading = nearest(wrapped, wanting(names))
    assert [reading.bare(name) for name in wrapped] == names


@given(NAMES, NAMES)
def test_no_reading_leaves_more_over_than_the_names_themselves(file: list[str], model: list[str]) -> None:
    reading = nearest(file, wanting(model))
    assert leftover(file, reading, wanting(model)) <= len(set(file) ^ set(model))


def test_names_beside_the_wrapped_ones_do_not_hide_them() -> None:
    model = [f"layer{number}.weight" for number in range(5)]
    reading = nearest([*(f"net.{name}" for name in model), "loss.scale"], wanting(model))
    assert reading.bare("net.layer3.weight") == "layer3.weight" and reading.bare("loss.scale") == "loss.scale"


def test_only_a_wrappers_own_tensors_are_set_aside() -> None:
    averaged = nearest(["n_averaged", "module.a.weight"], wanting(["a.weight"]))
    assert owners(averaged, ["n_averaged", "module.a.weight"]).keys() == {"n_averaged"}
    beside = nearest(["temperature", "model.a.weight"], wanting(["a.weight"]))
    assert not owners(beside, ["temperature", "model.a.weight"])
