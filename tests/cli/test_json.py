"""The documents that ``--json`` prints are what scripts build on: keys are added, and none is renamed or goes.

``python tests/cli/test_json.py`` writes down what they are now; what has gone then shows in the difference.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import nn

from registry import Registry

PINNED = Path(__file__).with_name("documents.json")

COMMANDS = (
    "list",
    "list acc>=0.5 sort:-acc",
    "models",
    "show net:v1",
    "log",
    "audit",
    "diff net:v1 net:v2",
    "inspect a.pth",
    "check net:v1 net:v2",
    "prune net --keep-last 1",
    "blame net:v2",
    "copy net ./copy --dry-run",
    "gc --dry-run",
    "import folder --dry-run",
    "doctor",
    "load net:v1 --init in_features=3 --init out_features=2",
    "tag net:v1 task=seg",
    "annotate net:v1 --metric acc=0.6",
    "alias net:v2 best",
    "alias --rollback net:best",
    "rm net:v2",
    "restore net:v2",
    "rename net team/net",
    "token list",
)


def documents(folder: Path) -> dict[str, Any]:
    """Run every command in a home with two versions, and return the forms of what they print."""
    from invocation import run

    hub, model = Registry(folder / "home"), nn.Linear(3, 2)
    hub.add_token("ann", role="write", models=["team/*"], expires=timedelta(days=90))
    hub.push(model, "net", example=torch.ones(1, 3), metrics={"acc": 0.5}, aliases=["best"])
    torch.save({f"module.{name}": tensor for name, tensor in model.state_dict().items()}, folder / "a.pth")
    (folder / "folder").mkdir()
    torch.save({"state_dict": model.state_dict(), "best_acc": 0.9}, folder / "folder" / "b.pth")
    with torch.no_grad():
        model.bias.add_(1)
    hub.push(model, "net", parent="net:v1", note="longer")
    hub.close()
    forms = {}
    for command in COMMANDS:
        words = [str(folder / word) if word in ("a.pth", "folder") else word for word in command.split()]
        said = run(*words, "--json", home=folder / "home", expect=1 if command.startswith("check") else 0)
        forms[command] = form(json.loads(said.stdout))
    return forms


def form(value: object) -> object:
    """Return the keys of a document, and of each the type of its value."""
    if isinstance(value, dict):
        return {key: form(item) for key, item in value.items()}
    if isinstance(value, list):
        return [form(value[0])] if value else []
    return type(value).__name__


def lost(pinned: Any, now: Any, path: str = "") -> list[str]:
    """Return what was there and is not, or is of another type."""
    if isinstance(pinned, dict) and isinstance(now, dict):
        gone = [f"{path}.{key}" for key in pinned if key not in now]
        return gone + [what for key in pinned if key in now for what in lost(pinned[key], now[key], f"{path}.{key}")]
    if isinstance(pinned, list) and isinstance(now, list):
        return [what for one, other in zip(pinned, now, strict=False) for what in lost(one, other, f"{path}[]")]
    return [] if pinned == now else [path]


def test_no_key_of_a_document_is_renamed_or_goes(tmp_path: Path) -> None:
    pinned, now = json.loads(PINNED.read_text()), documents(tmp_path)
    assert pinned.keys() == now.keys()
    assert {command: gone for command in pinned if (gone := lost(pinned[command], now[command]))} == {}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    with tempfile.TemporaryDirectory() as folder:
        PINNED.write_text(json.dumps(documents(Path(folder)), indent=1) + "\n")
