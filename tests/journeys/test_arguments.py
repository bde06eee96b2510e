"""Every argument of every verb: taken rightly, or refused in one sentence, and never another exception."""

from __future__ import annotations

import argparse
import copy
import inspect
import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from deliberate import wrong
from nets import PointNet
from torch import nn

import registry
from registry import errors
from registry.home.arguments import ARGUMENTS, ELSEWHERE, OF_VERB, checked
from registry.integrations.retention import Keeper

JUDGED_ELSEWHERE = {"model", "init", "example"}
"""What the class, or the model that is run, judges."""

VERBS = [verb for verb in registry.VERBS if verb != "doctor"]


class Odd:
    """An object that has nothing and hides it."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Unequal:
    """An object that no comparison likes."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


ODD: list[Callable[[], Any]] = [
    lambda: 5,
    lambda: -1,
    lambda: 0,
    lambda: 10**30,
    lambda: 10**6000,
    lambda: 3.5,
    lambda: math.nan,
    lambda: math.inf,
    lambda: 1e300,
    lambda: True,
    lambda: 1j,
    lambda: "",
    lambda: "3",
    lambda: "x" * 100_000,
    lambda: "a\0b",
    lambda: "a\nb\x1b[2J",
    lambda: "\ud800",
    lambda: "./no/such/file",
    lambda: "net:v1:v2",
    lambda: b"net",
    lambda: b"\xff",
    lambda: bytearray(b"x"),
    lambda: [],
    lambda: [1],
    lambda: ["net", None],
    lambda: [["net"]],
    lambda: (x for x in [1, 2]),
    lambda: {},
    lambda: {"acc": "x"},
    lambda: {1: 2.0},
    lambda: {"a": torch.ones(3)},
    lambda: {"a": [1]},
    lambda: {1: torch.ones(2)},
    lambda: {"state": {}, "param_groups": []},
    lambda: set(),
    lambda: {"best"},
    lambda: object(),
    lambda: Odd(),
    lambda: Unequal(),
    lambda: nn.Linear,
    lambda: PointNet,
    lambda: torch.optim.SGD,
    lambda: torch.ones(3),
    lambda: torch.tensor(2),
    lambda: numpy.ones(3),
    lambda: numpy.int64(2),
    lambda: numpy.array([], dtype=object),
    lambda: argparse.Namespace(a=1),
    lambda: Path("no/such/file.pth"),
    lambda: Path("a\0b"),
    lambda: timedelta(seconds=-5),
    lambda: timedelta.max,
    lambda: lambda: None,
    lambda: print,
    lambda: torch.float32,
    lambda: torch.device("cpu"),
    lambda: "cuda:999999999999",
    lambda: "meta",
    lambda: nn.Linear(2, 2),
    lambda: type,
    lambda: NotImplemented,
    lambda: ...,
    lambda: range(3),
    lambda: memoryview(b"x"),
]


@pytest.fixture
def stocked(hub: registry.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> registry.Registry:
    """A registry with two versions and a file, in whose folder the test runs."""
    monkeypatch.chdir(tmp_path)
    torch.save(PointNet().state_dict(), "net.pth")
    for _ in range(2):
        torch.save(PointNet().state_dict(), "net.pth")
        hub.push("net.pth", "net", model="nets:PointNet", example=torch.ones(2, 3, 4), aliases=["best"])
    return hub


def plain_call(verb: str) -> dict[str, Any]:
    """Return arguments with which the verb does its work."""
    needed: dict[str, dict[str, Any]] = {
        "push": {"source": "net.pth", "name": "net"},
        "resume": {"ref": "net:v1", "model": PointNet()},
        "inspect": {"source": "net.pth"},
        "check": {"module": "net:v1", "ref_or_path": "./net.pth"},
        "diff": {"a": "net:v1", "b": "net:v2"},
        "export": {"ref": "net:v1", "out": "out.safetensors"},
        "alias": {"ref": "net:v1", "alias": "stable"},
        "unalias": {"name": "net", "alias": "best"},
        "list": {},
        "log": {},
        "audit": {},
        "gc": {},
    }
    return needed.get(verb, {"ref": "net:v1"})


@pytest.mark.parametrize("verb", VERBS)
def test_no_value_of_any_argument_ends_in_another_exception(verb: str, stocked: registry.Registry) -> None:
    method = getattr(stocked, verb)
    for name, parameter in inspect.signature(method).parameters.items():
        if name in JUDGED_ELSEWHERE and (verb, name) not in OF_VERB:
            continue
        for odd in ODD:
            value = odd()
            if name == "progress" and callable(value):
                continue  # what a caller's own function raises is the caller's
            try:
                method(**{**plain_call(verb), name: value})
            except errors.RegistryError as error:
                assert 0 < len(str(error)) < 1500, (name, str(error)[:300])
            except BaseException as error:
                kind = type(value).__name__
                raise AssertionError(f"{verb}({name}=<{kind}>) raised {type(error).__name__}: {error}") from error
        assert parameter.kind is not inspect.Parameter.VAR_KEYWORD


def test_every_argument_of_every_verb_is_read() -> None:
    read = {name for _, name in OF_VERB} | ARGUMENTS.keys() | JUDGED_ELSEWHERE
    for verb in registry.VERBS:
        unread = inspect.signature(getattr(registry.Registry, verb)).parameters.keys() - read - {"self"}
        assert not unread, f"{verb} takes {unread}, and registry.home.arguments does not say what"
        assert hasattr(getattr(registry.Registry, verb), "__wrapped__"), f"{verb} does not read its arguments"


def test_one_pattern_is_no_list_of_letters(stocked: registry.Registry) -> None:
    model = nn.ModuleDict({"net": PointNet(), "extra": nn.Linear(2, 2)})
    with pytest.raises(errors.MissingTensors):
        stocked.load("net", model=model, allow_missing="extra.*")
    loaded = PointNet()
    loaded.extra = nn.Linear(2, 2)
    _, report = stocked.load("net", model=loaded, allow_missing="extra.*", report=True)
    assert set(report.missing) == {"extra.weight", "extra.bias"}
    loaded.other = nn.Linear(2, 2)
    with pytest.raises(errors.MissingTensors, match=r"other\.weight"):
        stocked.load("net", model=loaded, allow_missing="extra.*")


def test_one_alias_is_one_alias(stocked: registry.Registry) -> None:
    assert stocked.push(PointNet(), "other", aliases="champion").aliases == ("champion",)


def test_what_means_the_same_is_taken(stocked: registry.Registry) -> None:
    loss: Any = torch.tensor(0.5, requires_grad=True)
    entry: Any = stocked.push(PointNet(), "other", metrics={"loss": loss}, world_size=numpy.int64(2), timeout=30)
    assert entry.metrics == {"loss": 0.5} and entry.world_size == 2
    assert stocked.get(entry) == entry and stocked.push(PointNet(), "other", parent=entry).parent == entry.ref
    assert stocked.load("net", cast="bfloat16").get_parameter("head.weight").dtype is torch.bfloat16
    assert stocked.load("net", cast="torch.float64").get_parameter("head.weight").dtype is torch.float64
    hour: Any = 3600
    assert stocked.gc(grace=hour, dry_run=True) and stocked.gc(grace="1h", dry_run=True)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda hub: hub.load("net", verify="bogus"), errors.InvalidArgument, "'always', 'once', 'never', 'outputs'"),
        (lambda hub: hub.push("net.pth", world_size=-1), errors.InvalidArgument, "at least 1"),
        (lambda hub: hub.list(limit=10**20), errors.InvalidArgument, "at most 9,223,372,036,854,775,807"),
        (lambda hub: hub.push(PointNet), errors.InvalidArgument, r"an instance: PointNet\(...\)"),
        (lambda hub: hub.resume("net", PointNet), errors.InvalidArgument, "give an instance"),
        (lambda hub: hub.push([1], "net"), errors.InvalidArgument, "a state dict"),
        (lambda hub: hub.push(torch.ones(2), "net"), errors.InvalidArgument, "a state dict"),
        (lambda hub: hub.push({1: torch.ones(2)}, "net"), errors.EmptyCheckpoint, "no tensors under names"),
        (lambda hub: hub.push("net.pth", metrics={"acc": "x"}), errors.InvalidArgument, "'acc' is 'x'"),
        (lambda hub: hub.push("net.pth", metrics=[("acc", 1)]), errors.InvalidArgument, "numbers by name"),
        (lambda hub: hub.push("net.pth", epoch="3"), errors.InvalidArgument, "whole number"),
        (lambda hub: hub.push("net.pth", note=3), errors.InvalidArgument, "give a text"),
        (lambda hub: hub.push("net.pth", aliases={"best": 1}), errors.InvalidArgument, "give texts"),
        (lambda hub: hub.push("net.pth", parent=Path("net.pth")), errors.InvalidArgument, "reference"),
        (lambda hub: hub.list(limit=-1), errors.InvalidArgument, "at least 0"),
        (lambda hub: hub.load("net", device=[1]), errors.InvalidArgument, "cuda:0"),
        (lambda hub: hub.load("net", cast="bfloat"), errors.InvalidArgument, "torch.bfloat16"),
        (lambda hub: hub.load("net", ddp="yes"), errors.InvalidArgument, "True or False"),
        (lambda hub: hub.load("net", strict=False), errors.WrongCall, r"allow_missing=\['head"),
        (lambda hub: hub.load("net", map_location="cpu"), errors.WrongCall, "give device="),
        (lambda hub: hub.load("net", allow_mising=["x"]), errors.WrongCall, "did you mean allow_missing"),
        (lambda hub: hub.push("net.pth", alias="best"), errors.WrongCall, "aliases="),
        (lambda hub: hub.push("net.pth", tags={"a": 1}), errors.InvalidArgument, "not a text"),
        (lambda hub: hub.push("net.pth", tags={"a b": "c"}), errors.InvalidTag, "a key is 1 to 64"),
        (lambda hub: hub.push("net.pth", tags={"a": "b\nc=d"}), errors.InvalidTag, "printable"),
        (lambda hub: hub.load(), errors.WrongCall, "missing a required argument"),
        (lambda hub: hub.check(3, "net"), errors.InvalidArgument, "give a model"),
        (lambda hub: hub.check("net", PointNet()), errors.InvalidArgument, "a reference"),
        (lambda hub: registry.Registry(wrong(5)), errors.InvalidArgument, "a path"),
        (lambda hub: Keeper("net", hub=hub, keep_last=0), errors.InvalidArgument, "at least 1"),
        (lambda hub: Keeper("net", hub=hub, mode=wrong("best")), errors.InvalidArgument, "'max', 'min'"),
        (lambda hub: wrong(Keeper)("net", hub=hub, best="acc"), errors.WrongCall, "did you mean best_by"),
        (lambda hub: Keeper("net", hub=wrong(str(hub.home))), errors.InvalidArgument, "give a registry"),
    ],
)
def test_a_wrong_argument_is_one_sentence(stocked: registry.Registry, call, error, words: str) -> None:
    with pytest.raises(error, match=words):
        call(stocked)


def test_the_state_of_an_optimizer_is_not_the_optimizer(stocked: registry.Registry) -> None:
    model = PointNet()
    optimizer = torch.optim.SGD(model.parameters())
    with pytest.raises(errors.InvalidArgument, match=r"not its state_dict\(\)"):
        stocked.push(model, "net", optimizer=wrong(optimizer.state_dict()))
    with pytest.raises(errors.InvalidArgument, match="the scheduler itself"):
        stocked.push(model, "net", scheduler=wrong(torch.optim.lr_scheduler.StepLR))


def test_a_wrong_call_stores_nothing_and_makes_no_home(home: Path) -> None:
    with pytest.raises(errors.InvalidArgument):
        registry.push({"a": torch.ones(1)}, "net", epoch=wrong("3"))
    assert not home.exists()


def test_the_keywords_of_other_libraries_lead_to_arguments_that_there_are() -> None:
    every = {name for verb in registry.VERBS for name in inspect.signature(getattr(registry.Registry, verb)).parameters}
    assert {argument for argument, _ in ELSEWHERE.values()} <= every


def test_reading_arguments_hides_nothing_of_a_function() -> None:
    @checked
    def show(self: object, ref: str) -> str:
        """Say it."""
        return ref

    assert show.__doc__ == "Say it." and list(inspect.signature(show).parameters) == ["self", "ref"]
    assert copy.copy(show)(None, "net") == "net"


def test_what_is_given_by_position_and_has_to_be_named_is_said(tmp_path: Path) -> None:
    hub: Any = registry.Registry(tmp_path / "home")
    with pytest.raises(errors.WrongCall, match="too many positional arguments; give all but ref by name; it takes"):
        hub.load("net", "cuda")
