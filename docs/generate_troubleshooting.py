"""Write ``docs/troubleshooting.md`` from the errors themselves: ``python docs/generate_troubleshooting.py``."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from registry import errors
from registry.errors.root import RegistryError

PAGE = Path(__file__).parent / "troubleshooting.md"

INTRODUCTION = """# Troubleshooting

Generated from the classes by `python docs/generate_troubleshooting.py`. Search this page for some words of what was
printed; names of yours are in capitals here. Every error is a class of `registry.errors`, with a `code`, a sentence
that says what to do, and the `fields` that it was made of. With `--json` a command prints them as
`{"error": {"code", "message", "fields"}}`; a server answers the same.

## What no class says

**`module 'registry' has no attribute 'push'`**, or **`cannot import name … from 'registry'`**: another module is called
`registry`, mostly a `registry.py` of your project. Write `import checkpoint_registry as registry`; see
[the FAQ](faq.md#my-project-has-a-registrypy).

**`registry: interrupted; …`**: Ctrl-C. It says whether anything was stored; give the command again.

**`command not found: registry`**: the environment that it was installed into is not active; `python -m
checkpoint_registry` is the same command.

If nothing here helps, `registry doctor` checks the home and the installation.
"""

TITLES = {
    "arguments": "Calls from Python",
    "blobs": "Stored bytes",
    "canonical": "Names in a checkpoint",
    "catalog": "Names, references and the database",
    "checkpoints": "Reading a checkpoint",
    "confirmation": "Comparing",
    "copying": "Copies and bundles",
    "demonstration": "The demo",
    "exports": "Exports",
    "home": "Where the registry is",
    "importing": "Importing a folder",
    "intake": "What a push is given",
    "libraries": "Hugging Face, timm, diffusers and PEFT",
    "models": "Building and loading a model",
    "outputs": "Examples and their outputs",
    "parts": "Several models in one version",
    "requests": "Requests to a server",
    "root": "The root of all",
    "search": "Queries",
    "server": "Tokens, and what is not installed",
    "tokens": "Making and keeping tokens",
    "training": "Training state",
    "trust": "Trust in classes",
    "upkeep": "Order and retention",
}


def page() -> str:
    """Return a heading for every class of error, with its words and what is known of it."""
    rooms: dict[str, list[type[RegistryError]]] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, RegistryError):
            rooms.setdefault(kind.__module__.rpartition(".")[2], []).append(kind)
    parts = [INTRODUCTION]
    for room in sorted(rooms, key=lambda room: _title(room).lower()):
        parts.append(f"## {_title(room)}\n")
        parts += [_section(kind) for kind in sorted(rooms[room], key=lambda kind: kind.__name__)]
    return "\n".join(parts).rstrip() + "\n"


def _title(room: str) -> str:
    document = (import_module(f"registry.errors.{room}").__doc__ or room).strip()
    return TITLES.get(room) or document.partition("\n")[0].rstrip(".").partition(":")[0]


def _section(kind: type[RegistryError]) -> str:
    document = re.sub(r"``([^`]+)``", r"`\1`", inspect.getdoc(kind) or "")
    text = [f"### {kind.__name__}", "", document, ""]
    if message := words(kind):
        quoted = "\n".join(f"> {line}" for line in _escaped(message).splitlines())
        text += [quoted, ""]
    kinds = [
        base.__name__ for base in kind.__mro__[1:] if issubclass(base, RegistryError) and base is not RegistryError
    ]
    of = "".join(f", a [`{name}`](#{name.lower()})" for name in kinds)
    return "\n".join([*text, f"Code `{kind.code}`{of}.", ""])


def _escaped(text: str) -> str:
    """Keep Markdown from reading names such as ``head.*`` and ``__init__``; what is code stays code."""
    return "".join(
        part if at % 2 else re.sub(r"([*_<>\[\]|#])", r"\\\1", part)
        for at, part in enumerate(re.split(r"(`[^`]*`)", text))
    )


def words(kind: type[RegistryError]) -> str:
    """Return what an error of a class says, of names in capitals; empty for one that is raised as one of its kinds."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters):
        return ""
    if [each.name for each in parameters] == ["message", "snippet"]:
        return ""
    return str(kind(**{each.name: _sample(each) for each in parameters}))


def _sample(parameter: inspect.Parameter) -> Any:
    annotation, name = str(parameter.annotation), parameter.name.upper()
    special: dict[str, Any] = {
        "differences": [["WEIGHT", [1], [2]]]
        if "str, str, str" not in annotation
        else [["WEIGHT", "float32", "float16"]],
        "failures": [[1, "REASON"]],
        "faults": [["other values", ["WEIGHT"]]],
        "around": {"MODEL": ["FIRST"]},
        "report": None,
    }
    if parameter.name in special:
        return special[parameter.name]
    kind = annotation.partition(" |")[0]
    if kind.startswith("Mapping[str, int]"):
        return {name: 3}
    if kind.startswith(("Mapping", "dict")):
        return {name: f"{name}"}
    if kind.startswith(("Sequence", "Collection", "list", "tuple", "Iterable")):
        return ["FIRST", "SECOND"]
    return {"int": 7, "float": 0.5, "bool": True}.get(kind, name)


if __name__ == "__main__":
    PAGE.write_text(page())
