"""A bench for advice: what a user has at hand, how a sentence is caused, and how what it says is done."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from invocation import run
from torch import nn

import registry
from registry.errors import RegistryError

LINEAR = ("--model", "torch.nn:Linear", "--init", "in_features=2", "--init", "out_features=2")


@dataclass
class Bench:
    """A home, a folder to work in, and what a user has at hand."""

    hub: registry.Registry
    folder: Path

    def file(self, value: Any, name: str = "net.pth") -> Path:
        torch.save(value, self.folder / name)
        return self.folder / name

    def linear(self, **more: Any) -> Path:
        return self.file({**nn.Linear(2, 2).state_dict(), **more})

    def run(self, *words: object, expect: int | None = 0) -> str:
        said = run(*words, home=self.hub.home, expect=expect)
        return said.stdout + said.stderr


@dataclass
class Told:
    """A sentence, and how to try again what it answers."""

    text: str
    again: Callable[..., Any]


def command(b: Bench, *words: object, expect: int = 1) -> Told:
    """Say something on the command line that is refused, or where something is said of it."""
    return Told(b.run(*words, expect=expect), lambda *more: b.run(*words, *more))


def call(verb: Callable[..., Any], *args: Any, **options: Any) -> Told:
    """Call something that raises, or whose result has something to say."""
    try:
        result = verb(*args, **options)
    except RegistryError as error:
        text = str(error)
    else:
        text = str(getattr(result, "notices", result))
    return Told(text, lambda **more: verb(*args, **{**options, **more}))


# How advice is followed


def flags(b: Bench, told: Told, advice: str) -> None:
    told.again(*shlex.split(advice))


def arguments(b: Bench, told: Told, advice: str) -> None:
    told.again(**eval(f"dict({advice})", NAMES))


def typed(b: Bench, told: Told, advice: str) -> None:
    """Run a whole command line of ours."""
    name, *words = shlex.split(advice)
    assert name == "registry"
    with contextlib.chdir(b.folder):
        b.run(*words)


def as_a_rank(b: Bench, told: Told, advice: str) -> None:
    """Run a call before the load that lacked it, in a process that is started as torchrun starts one."""
    told.again(advice)


def audited(b: Bench, told: Told, advice: str) -> None:
    """Run an audit, which ends with 1 where it finds what is wrong."""
    assert "net:v1" in b.run(*shlex.split(advice)[1:], expect=1)


def lines(b: Bench, told: Told, advice: str) -> None:
    """Run lines of Python, and push the file that they write."""
    subprocess.run([sys.executable, "-c", f"import torch\n{textwrap.dedent(advice)}"], cwd=b.folder, check=True)
    b.run("push", b.folder / "weights.pth", "net")


def shell(b: Bench, told: Told, advice: str) -> None:
    if shutil.which("zip") is None:
        pytest.skip("there is no zip")
    subprocess.run(["bash", "-ec", advice], cwd=b.folder, check=True, capture_output=True)
    b.run("push", next(b.folder.rglob("packed.pth")), "net")


def python(b: Bench, told: Told, advice: str) -> None:
    """Run an expression in which the names stand for what a user has."""
    told.again(eval(advice, {**NAMES, **vars(b), "registry": b.hub, "push": b.hub.push}))


NAMES: dict[str, Any] = {
    "torch": torch,
    "Net": nn.Linear,
    "args": 2,
    "model": nn.Linear(2, 2),
    "inputs": torch.ones(1, 2),
}


@dataclass(frozen=True)
class Case:
    pattern: str
    """What finds the advice in the sentence; its group is run."""
    cause: Callable[[Bench], Told]
    follow: Callable[[Bench, Told, str], None] = flags
