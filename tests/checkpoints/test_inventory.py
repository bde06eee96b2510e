"""Every tensor of a checkpoint is stored, kept as training state, or named; whatever holds it, and wherever."""

from __future__ import annotations

import tempfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from deliberate import wrong
from hypothesis import HealthCheck, given, settings, strategies as st

from registry.attachments.training.file import attach_file
from registry.checkpoints.choosing import sets_called
from registry.checkpoints.inventory import identities, left_out, tensors_of
from registry.checkpoints.opening import open_checkpoint
from registry.errors import RegistryError, SeveralWeightSets, UnknownWeightSet
from registry.inspection import Question
from registry.pushing.push import inspect

KEYS = st.sampled_from(
    [
        "model",
        "metric_fc",
        "optimal",
        "heads",
        "parameters",
        "rng_head",
        "a.b",
        "state",
        "0",
        "scheduler",
        "ema",
        "loss",
    ]
)
NAMES = st.sampled_from(["weight", "bias", "conv.weight", "0.weight", "module.head.bias", "scale"])
SHAPES = st.sampled_from([(), (1,), (2,), (2, 3), (0, 2)])
DTYPES = st.sampled_from([torch.float32, torch.int64, torch.uint8, torch.bfloat16])


@st.composite
def tensors(draw) -> torch.Tensor:
    return torch.ones(draw(SHAPES), dtype=draw(DTYPES))


@st.composite
def state_dicts(draw) -> OrderedDict[str, torch.Tensor]:
    return OrderedDict((name, draw(tensors())) for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))


def optimizer() -> dict[str, Any]:
    linear = torch.nn.Linear(2, 1)
    adam = torch.optim.Adam(linear.parameters())
    linear(torch.ones(2)).sum().backward()
    adam.step()
    return adam.state_dict()


def scheduler() -> dict[str, Any]:
    return {"last_epoch": 3, "_step_count": 4, "best": torch.ones(2)}


LEAVES = st.one_of(
    tensors(), state_dicts(), st.builds(optimizer), st.builds(scheduler), st.integers(), st.text(max_size=3), st.none()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(st.integers(0, 3), inner, max_size=2),
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=8,
)


def inspected(path: Path) -> Any:
    """Return what a push would store, of whatever set is offered first."""
    try:
        return inspect(path, Question())
    except SeveralWeightSets as refusal:
        return inspect(path, Question(weights=next(iter(refusal.counts))))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_every_tensor_is_stored_or_kept_or_named(value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.pth")
        torch.save(value, path)
        try:
            inspection, enclosure = inspected(path)
        except UnknownWeightSet:
            raise
        except RegistryError:
            return  # nothing was stored, so nothing was dropped
        there = Counter(id(tensor) for _, tensor in tensors_of(inspection.checkpoint.contents))
        stored = {id(tensor) for tensor in inspection.weights.tensors.values()}
        stored |= {id(tensor) for _, tensor in tensors_of(dict(inspection.weights.values))}
        kept = {id(tensor) for tensor in enclosure.tensors.values()} if enclosure else set()
        counters = {id(tensor) for tensor in attach_file(inspection).counters}
        lost = sum(number for tensor, number in there.items() if tensor not in stored | kept | counters)
        assert sum(inspection.left_out.values()) == lost
        assert bool(lost) == any(note.startswith("not stored: ") for note in inspection.notes)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_what_is_named_can_be_chosen_by_that_name(value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.pth")
        torch.save(value, path)
        try:
            checkpoint = open_checkpoint(path)
        except RegistryError:
            return
        for name, number in left_out({(): checkpoint.contents}, identities([])).items():
            chosen = sets_called(checkpoint, name)
            assert name == "." or all(0 < found.count <= number for found in chosen)


def test_a_name_that_leads_to_no_weights_is_not_taken_for_the_last_step_of_others(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"model": (scheduler(), scheduler()), "teacher": {"model": {"weight": torch.ones(3, 2)}}}, path)

    with pytest.raises(UnknownWeightSet):
        inspect(path, Question(weights="model"))


def test_objects_that_are_not_read_are_searched_for_tensors(tmp_path):
    torch.save(
        {"model": {"w.a": torch.ones(2)}, "teacher": torch.nn.Linear(3, 2), "pair": (torch.ones(2), 1)},
        tmp_path / "a.pt",
    )
    inspection = inspected(tmp_path / "a.pt")[0]
    assert inspection.left_out == {"teacher": 2, "pair": 1}


class Silent:
    """A key whose words are code of its own."""

    def __str__(self) -> str:
        raise AssertionError("it was asked for its words")

    __repr__ = __str__


def test_a_key_of_a_strangers_class_is_not_asked_for_its_words():
    held = {"model": {"weight": torch.ones(2, 2)}, Silent(): {"other": torch.ones(3)}, 7: {"third": torch.ones(3)}}
    inspection, _ = inspect(wrong(held), Question(weights="model"))
    assert inspection.left_out == {"(Silent)": 1, "7": 1}
    assert [found.key for found in inspection.checkpoint.weight_sets] == ["model", "(Silent)", "7"]
