"""What looks like a secret among constructor arguments: by the name it stands under, or by its own shape."""

from __future__ import annotations

import copy
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from registry.tensors.foreign import MOST_LEVELS

_NAMES = re.compile(
    r"(.*_)?("
    r"pwd|pass(word|wd|phrase|code)s?|secrets?|credentials?|authorization|cookies?"
    r"|(api|access|secret|private|auth|account|signing|encryption)_?keys?)"
    r"|((access|api|auth|bearer|github|gitlab|hf|hub|refresh|secret|session|wandb)_)?token"
)
"""What the last words of a name say: ``password_dim`` is a size and ``num_tokens`` a number."""

_OTHER_TOKENS = re.compile(r".*_token")
"""The names of words in a vocabulary, too (``cls_token="[CLS]"``): only what looks like a key of eight characters."""
_KEY = re.compile(r"[\w.~+/=:-]{8,}")

_SHAPES = re.compile(
    r"^\s*(authorization\s*:\s*)?(?i:bearer)\s+\S{4,}\s*$"
    r"|(?i:authorization|x-api-key)\s*:\s*\S"
    r"|://[^\s/@:]*:[^\s/@]+@(?!sha\d+:)"  # the password in an address; what follows is not the digest of an image
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|(?<![A-Za-z0-9])("
    r"(hf|npm|api_org)_[A-Za-z0-9]{20,}|gh[a-z]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|sk-(?=[\w-]*\d)([a-z]+\d*-)*[A-Za-z0-9_]{16,}|xox[a-z]-[\w-]{10,}|pypi-[\w-]{40,}"
    r"|(AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+"
    r")"
)
"""Values that say of themselves what they are, whatever they are called."""


def without_secrets(init: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arguments without those that look like secrets, and the paths of these: ``args.api_key``.

    What is nested more deeply than can be stored comes back as it is; every object is visited once.
    """
    found: list[str] = []
    done: dict[int, Any] = {}

    def kept(value: Any, path: str, levels: int) -> Any:
        if levels < 0 or not (isinstance(value, dict) or type(value) in (Namespace, SimpleNamespace, list, tuple)):
            return value
        if id(value) not in done:
            done[id(value)] = visited(value, path, levels - 1)
        return done[id(value)]

    def visited(value: Any, path: str, levels: int) -> Any:
        if isinstance(value, (Namespace, SimpleNamespace)):
            copied = type(value)()
            vars(copied).update(visited(vars(value), path, levels))  # whose keys need not be names
            return copied
        if not isinstance(value, dict):
            return type(value)(kept(item, f"{path}.{i}", levels) for i, item in enumerate(value))
        rest = copy.copy(value)
        for key, item in value.items():
            where = (f"{path}.{key}" if path else key) if isinstance(key, str) else path
            # Of a list all goes with the one: without it, the others would be an argument that nobody gave.
            if any(_is_secret(key, text) for text in _texts(item, levels)):
                found.append(where)
                del rest[key]
            else:
                rest[key] = kept(item, where, levels)
        return rest

    return visited(dict(init), "", MOST_LEVELS), tuple(found)


def _texts(value: Any, levels: int) -> Iterator[str]:
    """Yield a text, or the texts of a list; a number, a truth value or nothing never is a secret."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (bytes, bytearray)):
        yield value.decode("latin-1")
    elif isinstance(value, (list, tuple, set, frozenset)) and levels > 0:
        for item in {id(item): item for item in value}.values():
            yield from _texts(item, levels - 1)


def _is_secret(key: object, text: str) -> bool:
    if not text:
        return False
    if _SHAPES.search(text):
        return True
    if not isinstance(key, str):
        return False
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()
    name = re.sub(r"[-.\s]+", "_", name)
    return bool(_NAMES.fullmatch(name) or (_OTHER_TOKENS.fullmatch(name) and _KEY.fullmatch(text)))
