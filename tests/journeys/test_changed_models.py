"""A live model that its class would not make again is pushed with a word on it, and a load says the same."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest
import torch
from changing import Adapter, Classifier, Deeper, Language, Lazy
from torch import nn
from torch.optim.swa_utils import AveragedModel

import registry
from registry import errors


def new_head(model: nn.Module) -> None:
    model.fc = nn.Linear(8, 10)


def adapter(model: Any) -> None:
    model.fc = Adapter(model.fc)


def without_norm(model: Any) -> None:
    model.body = model.body[:1]


def without_bias(model: Any) -> None:
    model.fc.bias = None


def normed(model: nn.Module) -> None:
    nn.utils.parametrizations.weight_norm(model.get_submodule("fc"))


def frozen_statistics(model: nn.Module) -> None:
    model.register_buffer("mean", torch.zeros(3))


CHANGES = [
    (
        new_head,
        errors.ShapeMismatch,
        r"'fc\.weight' was \(1000, 8\) and is \(10, 8\).*allow_shape=\['fc\.\*'\].*push it .*init=",
    ),
    (adapter, errors.FitError, r"'fc\.weight' was removed.*"),
    (without_norm, errors.MissingTensors, r"'body\.1\.weight' was removed, .* and 2 more"),
    (without_bias, errors.MissingTensors, r"'fc\.bias' was removed"),
    (normed, errors.FitError, r"'fc\.weight' was removed, 'fc\.parametrizations.* was added"),
    (frozen_statistics, errors.UnexpectedTensors, r"'mean' was added"),
    (nn.Module.double, errors.DtypeMismatch, r"'body\.0\.weight' was float32 and is float64.*cast=torch\.float64"),
]


def said(entry: registry.Entry) -> list[str]:
    return [notice for notice in entry.notices if "was changed after it was constructed" in notice]


@pytest.mark.parametrize(("change", "error", "words"), CHANGES, ids=[c[0].__name__ for c in CHANGES])
def test_a_push_of_a_changed_model_says_what_was_changed_and_what_a_load_needs(hub, change, error, words) -> None:
    model = Classifier()
    change(model)
    with pytest.warns(UserWarning, match="was changed after it was constructed"):
        entry = hub.push(model, "net")

    [notice] = said(entry)
    assert "model=module" in notice
    assert re.search(words, notice), notice
    with pytest.raises(error):
        hub.load("net")
    assert hub.load("net", model=model) is model


def test_what_it_advises_works(hub: registry.Registry) -> None:
    model = Classifier()
    new_head(model)
    hub.push(model, "head")
    hub.push(Classifier().double(), "wide")

    assert len(hub.load("head", allow_shape=["fc.*"]).get_parameter("fc.weight")) == 1000
    assert len(hub.load("head", init={"num_classes": 10}).get_parameter("fc.weight")) == 10
    assert said(hub.push(model, "made-so", init={"num_classes": 10})) == []
    assert len(hub.load("made-so").get_parameter("fc.weight")) == 10
    assert hub.load("wide", cast=torch.float64).get_parameter("fc.weight").dtype == torch.float64


@pytest.mark.parametrize("model", [Classifier(), Classifier(3), Deeper(4, depth=1), Language(), Lazy()])
def test_a_model_that_was_trained_and_wrapped_is_pushed_without_a_word(hub: registry.Registry, model) -> None:
    if isinstance(model, Lazy):
        model.fc(torch.ones(2, 4))
    else:
        for parameter in model.parameters():
            parameter.data.add_(1)
    for number, wrapped in enumerate((model, nn.DataParallel(model), AveragedModel(model), copy.deepcopy(model))):
        assert said(hub.push(wrapped, f"net{number}", force_new=True)) == []
        hub.load(f"net{number}")


def test_a_change_is_seen_through_wrappers_copies_and_subclasses(hub: registry.Registry) -> None:
    for model in (Classifier(5), Deeper(5, depth=1), pickle.loads(pickle.dumps(Classifier(5)))):
        new_head(model)
        for wrapped in (nn.DataParallel(model), AveragedModel(model), copy.deepcopy(model)):
            [notice] = said(hub.push(wrapped, "net", force_new=True))
            assert "'fc.weight' was (5, 8) and is (10, 8)" in notice


def test_a_model_that_was_loaded_and_given_a_new_head_says_so(hub: registry.Registry) -> None:
    hub.push(Classifier(5), "net")
    model = hub.load("net")
    assert said(hub.push(model, "same", force_new=True)) == []
    new_head(model)
    assert said(hub.push(model, "tuned"))


def test_what_was_one_tensor_and_is_two_is_said_where_their_values_differ(hub: registry.Registry) -> None:
    model = Language()
    model.head.weight = nn.Parameter(model.embedding.weight.detach().clone())
    assert said(hub.push(model, "equal")) == []
    hub.load("equal")

    with torch.no_grad():
        model.head.weight.add_(1)
    [notice] = said(hub.push(model, "untied"))
    assert "'embedding.weight' and 'head.weight' were one tensor and are not" in notice
    with pytest.raises(errors.BrokenTie):
        hub.load("untied")


def test_arguments_that_fit_the_changed_model_are_taken_at_their_word(hub: registry.Registry) -> None:
    given: tuple[dict[str, Any], ...] = ({"init": {"num_classes": 10}}, {})
    for number, told in enumerate(given):
        model = Classifier()
        new_head(model)
        if not told:
            registry.remember(model, num_classes=10)
        assert said(hub.push(model, f"net{number}", **told)) == []
        assert len(hub.load(f"net{number}").get_parameter("fc.weight")) == 10


def test_a_class_that_is_named_is_asked_instead(hub: registry.Registry) -> None:
    model = Classifier()
    new_head(model)
    with pytest.raises(errors.RegistryError, match=r"fc\.weight"):
        hub.push(model, "net", model=Classifier)


def test_nothing_is_constructed_by_a_push(hub: registry.Registry, monkeypatch) -> None:
    model = Classifier()
    new_head(model)
    monkeypatch.setattr(Classifier, "__init__", None)
    hub.push(model, "net")
