"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion, document
from .rendering import warn

if TYPE_CHECKING:
    from registry.attachments.examples.example import Example
    from registry.registry import Registry

Tag = Annotated[
    list[str] | None, typer.Option("--tag", metavar="K=V", help="A word about it, such as task=seg; may be repeated.")
]
Home = Annotated[
    str | None,  # of a path, a URL would lose a slash
    typer.Option(
        "--home",
        metavar="FOLDER|URL",
        help="The registry's folder, or the URL of a server. [default: $REGISTRY_HOME, else the user's data directory]",
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", callback=document.begin, help="Print one JSON document and nothing else."),
]
SELECTION, PAGING = "Selection", "Paging"
"""Words over groups of options in a help text."""

Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="NAME, NAME:v3, NAME:ALIAS[@2026-11-01] or NAME@DIGEST-PREFIX.",
        autocompletion=completion.references,
    ),
]
Refs = Annotated[
    list[str],
    typer.Argument(
        metavar="REF...",
        help="NAME, NAME:v3, NAME:ALIAS or NAME@DIGEST-PREFIX; one or several.",
        autocompletion=completion.references,
    ),
]
Metric = Annotated[
    list[str] | None, typer.Option("--metric", metavar="K=V", help="A metric, such as acc=0.92; may be repeated.")
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Free text.")]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="PKG.MOD:CLASS",
        help="The model's class; it then judges the names. Of several parts PART=PKG.MOD:CLASS for each.",
    ),
]
Init = Annotated[
    list[str] | None,
    typer.Option(
        "--init",
        metavar="JSON|K=V",
        help="Constructor arguments: one JSON object, or k=v (repeatable); args.k=v is k of a Namespace called args.",
    ),
]
InitAs = Annotated[
    str | None,
    typer.Option(
        "--init-as",
        metavar="STYLE",
        help="How the class takes them: kwargs (each by name), namespace or dict (all in one object).",
    ),
]
InitFromFile = Annotated[
    bool,
    typer.Option("--init-from-file", help="Take constructor arguments from the file, where --init gives none."),
]
FromDdp = Annotated[
    bool,
    typer.Option("--from-ddp", help="It was trained under DistributedDataParallel; its names may be wrapped or bare."),
]
FromSingle = Annotated[
    bool, typer.Option("--from-single", help="The model was not wrapped; keep all names as they are.")
]
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="WRAPPER", help="The wrapper it was trained under: ddp, fsdp, ema, 'compile(ddp)', ..."
    ),
]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Show at most N, newest first.")]
Every = Annotated[bool, typer.Option("--all", help="Show every tensor, not only the first few.")]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        metavar="PATH",
        help="Which set of weights: any path in the file, such as model, ema.model or heads.0; '.' is all of it. "
        "Repeated, each is a part of one version: PATH, or PART=PATH.",
    ),
]
Part = Annotated[
    str | None,
    typer.Option("--part", metavar="PART", help="Of a version with several parts, this one alone, by its own names."),
]
AllowUnexpected = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-unexpected",
        metavar="PATTERN",
        help="Names to leave out if the class does not have them: 'loss.*'. Needs --model.",
    ),
]
Builder = Annotated[
    str | None,
    typer.Option(
        "--builder",
        metavar="LIBRARY",
        help="What makes the model of its configuration: transformers, diffusers, timm, peft, or none. "
        "[default: the library that wrote the folder]",
    ),
]
Base = Annotated[
    str | None, typer.Option("--base", metavar="REF", help="Of an adapter of PEFT: the version that it is put on.")
]
ExampleFile = Annotated[
    Path | None,
    typer.Option(
        "--example",
        metavar="FILE",
        help="Inputs to run the model on, as safetensors: '0', '1' by position, others by keyword. Needs --model.",
    ),
]
ExampleShape = Annotated[
    list[str] | None,
    typer.Option(
        "--example-shape", metavar="1,3,1024", help="Run the model on random inputs of this shape; may be repeated."
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the random inputs.")]


def notice(text: str) -> None:
    """Print what there is to say of a reference."""
    warn(f"registry: {text}")


def registry_at(home: str | None, notify: Callable[[str], None] = notice) -> Registry:
    """Return the registry of a home; what there is to say of references goes to standard error."""
    from registry.home.place import home_place
    from registry.registry import Registry

    return Registry(home_place(home, "--home"), notify=notify)


def declared(from_ddp: bool, from_single: bool, from_: str | None) -> str | None:
    """Return the one declaration that was given, or None."""
    given = [word for word in ("ddp" if from_ddp else "", "single" if from_single else "", from_ or "") if word]
    if len(given) > 1:
        raise typer.BadParameter("give one of --from-ddp, --from-single and --from")
    return given[0] if given else None


def parse_init(given: Sequence[str] | None, init_as: str | None = None) -> dict[str, Any] | None:
    """Read ``--init``: one JSON object, or ``k=v`` where v is JSON or else text.

    Where each goes by its name, ``args.k=v`` is an attribute of a Namespace: ``Net(args, num_classes=40)``.
    """
    if not given:
        return None
    if len(given) == 1 and given[0].lstrip().startswith("{"):
        try:
            return dict(json.loads(given[0]))
        except (ValueError, TypeError, RecursionError) as error:
            raise typer.BadParameter(f"--init is not a JSON object: {error}") from error
    from argparse import Namespace

    init: dict[str, Any] = {}
    for key, text in _pairs(given, "--init", "num_classes=40"):
        owner, dot, name = key.partition(".")
        if not dot or init_as in ("namespace", "dict"):
            init[key] = _value(text)
            continue
        holder = init.setdefault(owner, Namespace())
        if not name or not isinstance(holder, Namespace):
            raise typer.BadParameter(f"--init gives '{owner}' a value and the attribute '{name}'; give one of them")
        setattr(holder, name, _value(text))
    return init


def parse_weights(given: Sequence[str] | None) -> str | dict[str, str] | None:
    """Read ``--weights``: one path, or the parts of a version, each a path or ``PART=PATH``."""
    if not given:
        return None
    if len(given) == 1:
        return given[0]
    from registry.checkpoints.choosing import parts_called

    pairs = [(part, path) if equals else text for text in given for part, equals, path in [text.partition("=")]]
    return parts_called(pairs)


def parse_model(given: Sequence[str] | None) -> str | dict[str, str] | None:
    """Read ``--model``: one class, or ``PART=CLASS`` for each part."""
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    return dict(_pairs(given, "--model", "img=package.module:Net"))


def parse_metrics(given: Sequence[str] | None) -> dict[str, float]:
    """Read ``--metric k=v``."""
    metrics = {}
    for key, value in _pairs(given or (), "--metric", "acc=0.92"):
        try:
            metrics[key] = float(value)
        except ValueError as error:
            raise typer.BadParameter(
                f"--metric {key}: '{value}' is not a valid number; write for example {key}=0.92"
            ) from error
    return metrics


def parse_tags(given: Sequence[str] | None, called: str = "--tag") -> dict[str, str]:
    """Read ``--tag k=v``, or what is called otherwise."""
    return dict(_pairs(given or (), called, "task=seg"))


def parse_example(file: Path | None, shapes: Sequence[str] | None, seed: int) -> Example | None:
    """Read ``--example``, or make what ``--example-shape`` and ``--seed`` describe."""
    if file is None and not shapes:
        return None
    if file is not None and shapes:
        raise typer.BadParameter("give one of --example and --example-shape")
    from registry.attachments.examples.example import random_example, read_example

    if file is not None:
        return read_example(file)
    return random_example([_shape(text) for text in shapes or ()], seed)


def one_of(option: str, given: str, allowed: Sequence[str]) -> Any:
    """Return a word if it is one that the option takes."""
    if given not in allowed:
        raise typer.BadParameter(f"{option} '{given}' is not valid; give one of {', '.join(allowed)}")
    return given


def parse_duration(text: str) -> timedelta:
    """Read ``7d``, ``12h``, ``30m``, ``2w``, ``0s`` or ``0``."""
    if text.strip() == "0":
        return timedelta()
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if match is None:
        raise typer.BadParameter(f"'{text}' is not a valid duration; give for example 7d, 12h or 30m")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def _shape(text: str) -> list[int]:
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", text.replace(" ", "")):
        raise typer.BadParameter(f"--example-shape '{text}' is not a valid shape; give for example 1,3,1024")
    return [int(size) for size in text.split(",")]


def _pairs(given: Sequence[str], option: str, example: str) -> list[tuple[str, str]]:
    pairs: dict[str, str] = {}
    for item in given:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"{option} '{item}' is not of the form K=V; write for example {example}")
        if pairs.setdefault(key.strip(), value) != value:
            raise typer.BadParameter(f"{option} gives '{key.strip()}' two values; give one of them")
    return list(pairs.items())


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
