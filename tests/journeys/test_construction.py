"""A model comes back as it was constructed, or the push says at once that it cannot."""

from __future__ import annotations

import argparse
import copy
import pathlib
from collections import Counter, OrderedDict, defaultdict, namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from constructed import (
    Base,
    Client,
    Computing,
    Derived,
    Dgcnn,
    Emptying,
    Extra,
    Inheriting,
    Layout,
    Plain,
    Pyramid,
    Scaled,
)
from contents import is_empty
from deliberate import wrong
from torch import nn
from torch.optim.swa_utils import AveragedModel

import registry
from registry import errors

Point = namedtuple("Point", "x y")


def saved(model: nn.Module, place: Path) -> Path:
    torch.save(model.state_dict(), place / "net.pth")
    return place / "net.pth"


def args(**more: object) -> argparse.Namespace:
    return argparse.Namespace(k=3, dropout=0.25, **more)


# Not known


def test_a_live_model_with_arguments_that_nobody_said_is_stored_as_unknown_and_says_so(hub: registry.Registry) -> None:
    with pytest.warns(UserWarning, match="constructor arguments of constructed:Scaled are not known") as warned:
        entry = hub.push(Scaled(3), "net")
    assert warned[0].filename == __file__
    assert entry.init_as == "unknown" and entry.init == {}
    assert any("constructor arguments of constructed:Scaled are not known" in notice for notice in entry.notices)


def test_a_load_of_it_refuses_and_names_the_ways_out(hub: registry.Registry) -> None:
    hub.push(Scaled(3), "net")
    with pytest.raises(errors.InitUnknown, match=r"net:v1 .* init=.* model=.*registry\.remember"):
        hub.load("net")
    assert hub.load("net", init={"value": 3}).value == 3
    assert hub.load("net", init={}).value == 1
    assert hub.load("net", model=Scaled(5)).value == 5


def test_a_class_that_is_named_for_a_live_model_does_not_say_how_it_was_constructed(hub: registry.Registry) -> None:
    hub.push(Scaled(3), "net", model="constructed:Scaled")
    with pytest.raises(errors.InitUnknown):
        hub.load("net")


def test_a_class_that_takes_nothing_is_known(hub: registry.Registry) -> None:
    entry = hub.push(Plain(), "net")
    assert (entry.init, entry.init_as, entry.notices) == ({}, "kwargs", ())
    assert torch.equal(hub.load("net").get_parameter("fc.weight"), hub.state_dict("net")["fc.weight"])


def test_the_same_weights_pushed_with_their_arguments_are_a_version_that_loads(hub: registry.Registry) -> None:
    model = Scaled(3)
    hub.push(model, "net")
    assert hub.push(model, "net", init={"value": 3}).ref == "net:v2"
    assert hub.load("net").value == 3
    again = hub.push(model, "net")  # which says nothing else of how it is made
    assert (again.ref, again.reused, again.notices) == ("net:v2", True, ())


def test_an_audit_of_a_version_with_unknown_arguments_is_clean(hub: registry.Registry) -> None:
    hub.push(Scaled(3), "net")
    assert hub.audit().is_clean


# Given with a push


def test_arguments_given_with_a_live_model_count(hub: registry.Registry) -> None:
    hub.push(Scaled("tanh"), "net", init={"value": "tanh"})
    assert hub.load("net").value == "tanh"


def test_arguments_that_the_class_does_not_take_are_refused_at_the_push(hub: registry.Registry) -> None:
    with pytest.raises(errors.InitRefused, match="did you mean value"):
        hub.push(Scaled(3), "net", init={"valeu": 3})
    with pytest.raises(errors.InitRefused, match="missing a required argument: 'args'"):
        hub.push(Dgcnn(args()), "net", init={})
    assert is_empty(hub)


def test_a_namespace_is_what_the_class_takes_alone(hub: registry.Registry, tmp_path: Path) -> None:
    model = Dgcnn(args(lr=0.1))
    sources: tuple[nn.Module | Path, ...] = (model, saved(model, tmp_path))
    for number, source in enumerate(sources):
        entry = hub.push(source, f"net{number}", model=Dgcnn, init=args(lr=0.1))
        assert (entry.model_class, entry.init_as) == ("constructed:Dgcnn", "namespace")
        assert hub.load(entry.ref).args == args(lr=0.1)


def test_a_namespace_and_other_arguments_stand_under_their_names(hub: registry.Registry, tmp_path: Path) -> None:
    file = saved(Dgcnn(args(), classes=7), tmp_path)
    hub.push(file, "net", model="constructed:Dgcnn", init={"args": args(), "classes": 7})
    loaded: Any = hub.load("net")
    assert (loaded.args, loaded.classes) == (args(), 7)


def test_arguments_without_a_class_are_refused_for_a_file(hub: registry.Registry, tmp_path: Path) -> None:
    file = saved(Scaled(3), tmp_path)
    for verb in (hub.inspect, lambda source, **k: hub.push(source, "net", **k)):
        with pytest.raises(errors.InitWithoutModel, match="--model"):
            verb(file, init={"value": 3})
        with pytest.raises(errors.InitWithoutModel):
            verb(Plain().state_dict(), init_as="namespace")
    assert is_empty(hub)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"init": [1]}, errors.UnusableInit, "a list"),
        ({"init": "value=1"}, errors.UnusableInit, "a str"),
        ({"init": {1: 2}}, errors.UnusableInit, "key 1"),
        ({"init": {}, "init_as": "unknown"}, errors.InvalidArgument, "'kwargs', 'namespace', 'dict'"),
        ({"init": {}, "init_as": 3}, errors.InvalidArgument, "'kwargs', 'namespace', 'dict'"),
        ({"model": 3}, errors.UnusableModel, "an int"),
        ({"model": nn.Linear(2, 2)}, errors.UnusableModel, "give its class"),
        (
            {"model": type("Local", (nn.Module,), {"__module__": "__main__"})},
            errors.UnusableModel,
            "no other process",
        ),
        ({"model": lambda: None}, errors.UnusableModel, "be its name"),
        ({"model": type("Scaled", (nn.Module,), {"__module__": "constructed"})}, errors.UnusableModel, "does not lead"),
    ],
)
def test_what_is_no_class_and_no_arguments_is_one_sentence(hub, tmp_path, given, error, said) -> None:
    for source in (Scaled(), saved(Scaled(), tmp_path)):
        for verb in (hub.inspect, lambda source, **given: hub.push(source, "net", **given)):
            with pytest.raises(error, match=said):
                verb(source, **{"model": "constructed:Scaled", **given})
    assert is_empty(hub)


def test_a_constructor_changes_nobodys_arguments(hub: registry.Registry, tmp_path: Path) -> None:
    init = {"settings": {"power": 3}}
    hub.push(saved(Emptying({}), tmp_path), "net", model=Emptying, init=init)
    assert init == {"settings": {"power": 3}} == hub.get("net").init
    assert [hub.load("net").power, hub.load("net").power, hub.load("net", init=init).power] == [3, 3, 3]
    assert init == {"settings": {"power": 3}}


# Remembered


def test_arguments_are_recorded_before_the_constructor_changes_them(hub: registry.Registry) -> None:
    hub.push(Emptying({"power": 3}), "net")
    assert hub.load("net").power == 3


def test_a_subclass_of_a_decorated_class_is_recorded_with_its_own_arguments(hub: registry.Registry) -> None:
    for model in (Derived(gain=3.0, shape=(1, 2)), Inheriting(gain=3.0, shape=(1, 2))):
        entry = hub.push(model, type(model).__name__)
        loaded: Any = hub.load(entry.ref)
        assert (type(loaded), loaded.gain, loaded.shape) == (type(model), 3.0, (1, 2))
    assert hub.push(Base(4), "base").init == {"width": 4}


def test_a_constructor_that_was_replaced_later_is_not_spoken_for(hub: registry.Registry, monkeypatch) -> None:
    def construct(self, gain):
        Base.__init__(self, 3)
        self.gain = gain

    monkeypatch.setattr(Derived, "__init__", construct)
    assert hub.push(wrong(Derived)(2.0), "net").init_as == "unknown"


def test_a_decorated_class_keeps_its_signature_and_its_hook_for_subclasses() -> None:
    import inspect

    seen = []

    @registry.remember
    class Hooked(nn.Module):
        def __init_subclass__(cls, /, tag: str = "", **rest) -> None:
            super().__init_subclass__(**rest)
            seen.append((cls.__name__, tag))

        def __init__(self, width: int) -> None:
            super().__init__()

    class Later(Hooked, tag="late"):
        def __init__(self, width: int, depth: int = 1) -> None:
            super().__init__(width)

    assert seen == [("Later", "late")]
    assert list(inspect.signature(Later).parameters) == ["width", "depth"]
    assert list(inspect.signature(Hooked).parameters) == ["width"]


def test_what_a_recorded_constructor_was_given_and_cannot_be_stored_stops_nobody(hub: registry.Registry) -> None:
    entry = hub.push(Computing(torch.tanh), "net")
    assert entry.init_as == "unknown"
    assert any("'activation' of Computing cannot be stored" in notice for notice in entry.notices)
    assert hub.load("net", init={"activation": torch.tanh}).activation is torch.tanh


def test_arguments_are_remembered_as_the_constructor_took_them(hub: registry.Registry) -> None:
    given = args()
    hub.push(registry.remember(Dgcnn(given, 7), given, 7), "net")
    given.k = 99
    loaded: Any = hub.load("net")
    assert (loaded.args, loaded.classes) == (args(), 7)
    hub.push(registry.remember(Pyramid(2, 3, 4, bias=False), 2, 3, 4, bias=False), "pyramid")
    pyramid: Any = hub.load("pyramid")
    assert [layer.bias for layer in pyramid.layers] == [None, None]


def test_remembering_what_the_class_does_not_take_is_refused() -> None:
    with pytest.raises(errors.InitRefused, match=r"registry\.remember\(model, args\)"):
        registry.remember(Dgcnn(args()), **vars(args()))
    for value in (Plain().state_dict(), Path, 3):
        with pytest.raises(errors.NotAModule):
            registry.remember(wrong(value))
    with pytest.raises(errors.NotAModule, match="the class Scaled"):
        registry.remember(wrong(Scaled), value=3)


def test_a_model_remembers_through_wrappers_copies_and_loads(hub: registry.Registry) -> None:
    model = registry.remember(nn.DataParallel(Scaled(3)), 3)
    assert hub.push(AveragedModel(model.module), "ema").init == {"value": 3}
    assert hub.push(copy.deepcopy(model), "copy").init == {"value": 3}
    loaded = hub.load("copy", init={"value": 4})
    assert hub.push(loaded, "again").init == {"value": 4}


# Given with a load


def test_arguments_of_a_load_go_over_the_stored_ones(hub: registry.Registry) -> None:
    hub.push(registry.remember(Dgcnn(args(), 7), args(), 7), "net")
    loaded: Any = hub.load("net", init={"args": argparse.Namespace(k=3, dropout=0.9)})
    assert (loaded.classes, loaded.args.dropout) == (7, 0.9)


def test_a_load_may_say_how_the_class_takes_them(hub: registry.Registry, tmp_path: Path) -> None:
    hub.push(Dgcnn(args()), "net", init=vars(args()), init_as="namespace")
    loaded: Any = hub.load("net", init={"dropout": 0.5})
    assert loaded.args.dropout == 0.5
    hub.push(saved(Scaled(), tmp_path), "scaled", model=Scaled, init={"value": 2})
    assert hub.load("scaled", init_as="dict").value == {"value": 2}
    with pytest.raises(errors.InvalidArgument):
        hub.load("scaled", init_as="list")


def test_arguments_for_a_model_that_is_constructed_already_are_refused(hub: registry.Registry) -> None:
    hub.push(Plain(), "net")
    with pytest.raises(errors.InitForInstance):
        hub.load("net", model=Plain(), init={})


# Secrets


def test_what_looks_like_a_secret_is_not_stored_and_said(hub: registry.Registry, tmp_path: Path) -> None:
    init = {"width": 2, "hf_token": "hf_sesame", "mask_token": "[X]", "options": {"api_key": "sesame", "n": 1}}
    sources: list[tuple[nn.Module | Path, Any]] = [(Client(), Client), (saved(Client(), tmp_path), Client)]
    sources.append((Client(), None))
    for number, (source, model) in enumerate(sources):
        entry = hub.push(source, f"net{number}", model=model, init=init)
        assert entry.init == {"width": 2, "mask_token": "[X]", "options": {"n": 1}}
        assert any("'hf_token', 'options.api_key'" in notice for notice in entry.notices)
        loaded: Any = hub.load(entry.ref, init={"hf_token": "hf_sesame"})
        assert (loaded.hf_token, loaded.mask_token) == ("hf_sesame", "[X]")
    hub.catalog.close()
    assert not any(b"sesame" in path.read_bytes() for path in hub.home.rglob("*") if path.is_file())


# Types


KEPT = [
    {1: 0.5, 2: 1.0}, (1, (2, 3)), {(1, "a"): True}, defaultdict(list, a=[1]), Counter("aab"), OrderedDict(b=1, a=2),
    {1, 2}, frozenset("a"), b"\0", bytearray(b"x"), 1j, float("inf"), range(3), slice(1, None),
    torch.bfloat16, torch.device("cuda:1"), torch.Size([2, 3]), torch.strided,
    pathlib.Path("/data/set"), argparse.Namespace(a=(1,)), SimpleNamespace(a={1: 2}), numpy.float32(0.1),
    numpy.int64(7), numpy.bool_(True), numpy.str_("a"), {"a": [{"b": {3: (4,)}}]},
]  # fmt: skip
REFUSED = [
    Layout.CHANNELS_LAST, Point(1, 2), defaultdict(lambda: 3), torch.relu, nn.ReLU, nn.ReLU(),
    type("Config", (dict,), {})(a=1), type("Text", (str,), {})("a"),
]  # fmt: skip


@pytest.mark.parametrize("value", KEPT, ids=repr)
def test_arguments_and_extra_state_come_back_with_their_types(hub: registry.Registry, value: object) -> None:
    nested = {"deep": [value]}
    model = Extra()
    model.extra = nested
    hub.push(registry.remember(Scaled(nested), nested), "init")
    hub.push(model, "extra")
    init: Any = hub.load("init")
    extra: Any = hub.load("extra")
    for found in (init.value, extra.extra):
        assert type(found["deep"][0]) is type(value) and repr(found) == repr(nested)


@pytest.mark.parametrize("value", REFUSED, ids=[type(value).__name__ for value in REFUSED])
def test_what_would_come_back_as_another_type_is_refused_at_the_push(hub: registry.Registry, value: object) -> None:
    model = Extra()
    model.extra = [value]
    with pytest.raises(errors.UnencodableValue, match="_extra_state/value/0"):
        hub.push(model, "extra")
    with pytest.raises(errors.UnstorableInit, match="'value/0'"):
        hub.push(Scaled([value]), "init", init={"value": [value]})
    assert is_empty(hub)


@pytest.mark.parametrize(
    "value", [defaultdict(int, a=1), Counter("ab"), argparse.Namespace(a=1), pathlib.Path("/a"), {1: (2,)}], ids=repr
)
def test_extra_state_of_a_file_comes_back_with_its_types(hub: registry.Registry, tmp_path: Path, value: object) -> None:
    model = Extra()
    model.extra = value
    hub.push(saved(model, tmp_path), "net", model=Extra)
    found = hub.load("net").extra
    assert (type(found), found) == (type(value), value)


def test_extra_state_of_a_file_that_is_only_read_as_something_else_is_refused(hub, tmp_path: Path) -> None:
    import datetime

    model = Extra()
    model.extra = datetime.date(2020, 1, 2)
    with pytest.raises(errors.UnencodableValue, match="only read as a str"):
        hub.push(saved(model, tmp_path), "net", model=Extra)


# Messages


@pytest.mark.parametrize(
    ("model", "init", "style", "said"),
    [
        ("constructed.py:Scaled", {}, None, "write constructed:Scaled"),
        ("constructed.Scaled", {}, None, "did you mean constructed:Scaled"),
        ("pkg/nets.py:Net", {}, None, r"did you mean pkg\.nets:Net"),
        ("constructed:Scaled", {"vale": 1}, None, "did you mean value"),
        ("constructed:Client", {"width": "two"}, None, "width='two' is a text"),
        ("constructed:Dgcnn", {}, "namespace", r"give them: --init k=\.\.\. --init dropout=\.\.\."),
        ("constructed:Dgcnn", {"k": 3}, "namespace", r"give them: --init dropout=\.\.\."),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(hub, tmp_path: Path, model, init, style, said) -> None:
    with pytest.raises(errors.RegistryError, match=said):
        hub.push(saved(Scaled(), tmp_path), "net", model=model, init=init, init_as=style)
