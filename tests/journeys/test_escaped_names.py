"""What strangers named acts on no terminal: neither from an error, nor from what a command prints."""

from __future__ import annotations

import ast
import inspect
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from invocation import run

from registry import Registry, errors
from registry.errors import RegistryError

EVIL = "w\x1b]0;owned\x07\x1b[2K\r\n\u202eregistry: pushed\x9b31m\u2066"
FORBIDDEN = set("\x1b\x07\r\x9b\u202e\u2066\n")


def argument(annotation: ast.expr, number: int = 0) -> object:
    """Return a value of the kind that an error takes, with names of a stranger in it."""
    plain = {"int": number + 2, "float": 2.0, "bool": True, "None": None, "Path": Path(EVIL)}
    if isinstance(annotation, ast.BinOp):
        return argument(annotation.left, number)
    if not isinstance(annotation, ast.Subscript):
        name = ast.unparse(annotation)
        if name.endswith(("Error", "Exception")):
            return OSError(13, EVIL, EVIL)
        return plain.get(name, f"{EVIL}{number}")
    inside = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    of = ast.unparse(annotation.value)
    if of == "Mapping":
        return {argument(inside[0], each): argument(inside[1], each) for each in range(2)}
    if of == "tuple" and ast.unparse(inside[-1]) != "...":
        return tuple(argument(part, number) for part in inside)
    return [argument(inside[0], each) for each in range(2)]


CLASSES = [kind for name, kind in sorted(vars(errors).items()) if isinstance(kind, type)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_no_error_hands_on_what_acts_on_a_terminal(cls: type[RegistryError]) -> None:
    parameters = list(inspect.signature(cls).parameters.values())
    given = [
        argument(ast.parse(str(p.annotation), mode="eval").body)
        for p in parameters
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    error = cls(*given)  # type: ignore[arg-type]
    for text in (str(error), *map(str, error.args)):
        lines = (
            FORBIDDEN - {"\n"}
            if cls.__name__ in ("ArraysOfNumpy", "PickledModule", "TorchScriptArchive")
            else FORBIDDEN
        )
        assert not lines & set(text), text


def test_no_command_prints_what_acts_on_a_terminal(hub: Registry, tmp_path: Path) -> None:
    state = OrderedDict({EVIL: torch.ones(2, 2), "v": torch.ones(2)})
    state._metadata = {EVIL: {"version": EVIL}}  # type: ignore[attr-defined]
    path = tmp_path / f"{EVIL.replace('/', '')}.pth"
    torch.save({"state_dict": state, EVIL: 1}, path)
    hub.push(path, "m", note="a\x1b[31m\u202enote")
    other = tmp_path / "other.pth"
    torch.save({EVIL: torch.zeros(2, 2)}, other)
    hub.push(other, "m")
    for command in (
        ["inspect", str(path), "--all"],
        ["list"],
        ["show", "m:v1"],
        ["diff", "m:v1", "m:v2"],
        ["log"],
        ["inspect", str(path), "--model", "torch.nn:Linear"],
        ["push", str(path)],
        ["show", EVIL],
        ["load", "m:v1", "--model", "torch.nn:Linear"],
        ["export", "m:v1", str(tmp_path / EVIL / "nowhere.safetensors")],
    ):
        said = run(*command, home=hub.address, expect=None)
        printed = said.stdout + said.stderr
        assert printed.encode()  # a terminal of any kind can be sent it
        assert printed and not (FORBIDDEN - {"\n"}) & set(printed), (command, printed)
        assert not any(line.startswith("registry: pushed") for line in printed.splitlines())
        assert "Traceback" not in printed
