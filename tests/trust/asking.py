"""A process that asks every verb about every version of a home, and says what that imported and wrote.

Run as ``python asking.py HOME VERSIONS`` in a folder of its own; prints one JSON object, verb by version.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from registry import Registry
from registry.cli import main
from registry.errors import RegistryError

WATCHED = ("antigravity", "train", "telltale", "this")
WRITTEN = ("trained", "imported", "built")


def _resume(hub: Registry, ref: str) -> None:
    model = torch.nn.Linear(3, 3)
    hub.resume(ref, model, torch.optim.SGD(model.parameters(), lr=0.5))


VERBS: dict[str, Callable[[Registry, str], object]] = {
    "load": lambda hub, ref: hub.load(ref),
    "resume": _resume,
    "replay": lambda hub, ref: hub.replay(ref),
    "diff": lambda hub, ref: hub.diff(ref, ref),
    "show": lambda hub, ref: hub.get(ref),
    "audit --classes": lambda hub, ref: hub.audit(ref, classes=True),
    "audit --run": lambda hub, ref: hub.audit(ref, run=True),
}
COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "registry load": lambda ref: ["load", ref],
    "registry load --verify outputs": lambda ref: ["load", ref, "--verify", "outputs"],
    "registry diff": lambda ref: ["diff", ref, ref],
    "registry show": lambda ref: ["show", ref],
    "registry list": lambda ref: ["list"],
    "registry audit --classes --run": lambda ref: ["audit", ref, "--classes", "--run"],
}


def _asked(verb: Callable[[Registry, str], object], home: str, ref: str) -> str:
    try:
        verb(Registry(home), ref)
    except RegistryError as error:
        return type(error).__name__
    return "done"


def _commanded(words: list[str], home: str) -> str:
    sys.argv = ["registry", *words, "--home", home]
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            return f"exit {end.code or 0}: {said.getvalue()}"
    return f"exit 0: {said.getvalue()}"


def _ran() -> list[str]:
    """Return what was imported or written since the last time, and forget it."""
    found = [name for name in WATCHED if sys.modules.pop(name, None) is not None]
    for name in WRITTEN:
        if Path(name).exists():
            Path(name).unlink()
            found.append(f"wrote {name}")
    return found


def run(home: str, versions: int) -> dict[str, dict[str, object]]:
    table: dict[str, dict[str, object]] = {}
    for number in range(1, versions + 1):
        ref = f"net:v{number}"
        for name, verb in VERBS.items():
            table.setdefault(name, {})[ref] = {"outcome": _asked(verb, home, ref), "ran": _ran()}
        for name, words in COMMANDS.items():
            table.setdefault(name, {})[ref] = {"outcome": _commanded(words(ref), home), "ran": _ran()}
    return table


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]))))
