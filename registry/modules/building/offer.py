"""Constructor arguments that a file says it was made with, worded as the command that would give them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from registry.tensors.numpy_values import Scalar

MOST_CHARACTERS = 400
"""How long the options may be in a message."""


def as_options(arguments: Mapping[str, Any]) -> str:
    """Word arguments as ``--init k=v ...``; those that are no plain values, or too many to show, are only counted."""
    shown: list[str] = []
    for name, value in arguments.items():
        option = _option(name, value)
        if option is not None and sum(map(len, shown)) + len(option) <= MOST_CHARACTERS:
            shown.append(option)
    left = len(arguments) - len(shown)
    return " ".join(shown) + (f"{' and ' if shown else ''}{left} more" if left else "")


def _option(name: str, value: Any) -> str | None:
    text = _text(value)
    if text is None or not name.isidentifier():
        return None
    return f"--init {shlex.quote(f'{name}={text}')}"


def _text(value: Any) -> str | None:
    """Return what ``--init`` reads as this value: a bare word where that is not read as JSON, else JSON."""
    if isinstance(value, str) and value.isprintable():
        try:
            json.loads(value)
        except ValueError:
            return value
        except RecursionError:
            return None
    if isinstance(value, Scalar):
        value = value.plain
    try:
        text = json.dumps(value)
        return text if json.loads(text) == (list(value) if isinstance(value, tuple) else value) else None
    except (TypeError, ValueError, RecursionError):
        return None
