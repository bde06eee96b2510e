"""Models of many tensors: the work grows as the names do, wherever they stand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from registry.canonical.expectation import Expectation
from registry.canonical.form import Clues, canonicalize
from registry.canonical.nearest import nearest
from registry.errors import ClassMismatch
from registry.modules.fitting.plan import Allowances, Content, make_plan
from registry.tensors.spec import TensorSpec

SPEC = TensorSpec("float32", (2, 2))
SHAPES: dict[str, Callable[[int], str]] = {
    "tensors of one module": lambda i: f"net.p{i}",
    "tensors at the root": lambda i: f"p{i}",
    "tensors under a wrapper": lambda i: f"module.p{i}",
    "modules of one module": lambda i: f"net.m{i}.weight",
    "modules at the root": lambda i: f"m{i}.weight",
    "wrapped modules": lambda i: f"net.m{i}.module.weight",
}


class Name(str):
    """A name that counts how often it is compared or hashed, which C does without a line of Python."""

    asked = 0

    def __eq__(self, other: object) -> bool:
        Name.asked += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        Name.asked += 1
        return str.__hash__(self)


class Steps:
    """Instructions of Python, and comparisons of names."""

    count = 0


@contextmanager
def counted() -> Iterator[Steps]:
    steps, before, asked = Steps(), sys.gettrace(), Name.asked

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        steps.count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        yield steps
    finally:
        sys.settrace(before)
        steps.count += Name.asked - asked


def names(shape: str, number: int) -> dict[str, TensorSpec]:
    return {Name(SHAPES[shape](i)): SPEC for i in range(number)}


def alone(tensors: dict[str, TensorSpec]) -> None:
    canonicalize("x", tensors, (), Clues())


def declared(tensors: dict[str, TensorSpec]) -> None:
    canonicalize("x", tensors, (), Clues(declared=("ddp",)))


def by_its_class(tensors: dict[str, TensorSpec]) -> None:
    canonicalize("x", tensors, (), Clues(expectation=Expectation(tensors)))


def by_another_class(tensors: dict[str, TensorSpec]) -> None:
    with pytest.raises(ClassMismatch):
        canonicalize("x", tensors, (), Clues(expectation=Expectation({f"{n}.other": SPEC for n in tensors})))


def nearest_to_another(tensors: dict[str, TensorSpec]) -> None:
    nearest(list(tensors), Expectation({f"{n}.other": SPEC for n in tensors}))


def beside_values(tensors: dict[str, TensorSpec]) -> None:
    canonicalize("x", tensors, [Name(f"{n}._extra_state") for n in tensors] + [Name(f"{n}x") for n in tensors], Clues())


def loaded_in_part(tensors: dict[str, TensorSpec]) -> None:
    wanted = Expectation(tensors, defaults=frozenset(list(tensors)[::2]))
    make_plan("Net", wanted, Content({Name(f"{n}x"): SPEC for n in tensors}), Allowances(["*"], ["*"]))


def without_counters(tensors: dict[str, TensorSpec]) -> None:
    wanted = Expectation(
        {**tensors, **{f"{n}_count": SPEC for n in tensors}}, defaults=frozenset(f"{n}_count" for n in tensors)
    )
    canonicalize("x", tensors, (), Clues(expectation=wanted))


WORK = [
    alone,
    declared,
    by_its_class,
    by_another_class,
    nearest_to_another,
    beside_values,
    loaded_in_part,
    without_counters,
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("work", WORK)
def test_twice_the_names_are_twice_the_work(work: Callable[[dict[str, TensorSpec]], None], shape: str) -> None:
    took = []
    for number in (150, 150, 300):  # once more: the first frames that Python 3.12 is to trace by opcode, it does not
        tensors = names(shape, number)
        with counted() as steps:
            work(tensors)
        took.append(steps.count)
    assert took[2] < 2.6 * took[1], took
