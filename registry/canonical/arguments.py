"""The constructor arguments of a model as a version keeps them: JSON that gives back the very values, types too."""

from __future__ import annotations

import copy
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from registry.canonical.values import MOST_LEVELS, TAG, decode, encode
from registry.errors.checkpoints import UnencodableValue
from registry.errors.intake import UnstorableInit

UNKNOWN = "unknown"
"""How a class takes its arguments where nobody said what they are, which is not the same as that there are none."""

POSITIONAL = "*"
"""Key of the list of those arguments that a constructor takes by position alone: no parameter can be called so."""

_ENVELOPE = "arguments"
_WORDS = r"(.*_)?(pass(word|wd|phrase)|secrets?|credentials?|(api|access|secret|private|auth|account)_?key)"
_TOKENS = r"((access|api|auth|bearer|github|gitlab|hf|hub|refresh|secret|session|wandb)_)?token"
_OTHER_TOKENS = r".*_token"
"""The names of words in a vocabulary, too (``cls_token="[CLS]"``): only what looks like a key of eight characters."""


class Arguments(Mapping[str, Any]):
    """Arguments by name. Every look makes a value anew, so nobody can change what is stored.

    Plain JSON values are stored as they are. As soon as one value needs more (a tuple, a dict with whole numbers as
    keys), all are kept in the encoding of ``registry.canonical.values``, in an envelope that says so.
    """

    def __init__(self, raw: Mapping[str, Any] | None = None) -> None:
        self.raw: dict[str, Any] = dict(raw or {})
        """The JSON object that is stored, and digested."""
        self._is_encoded = self.raw.get(TAG) == _ENVELOPE
        self._values = self.raw["v"] if self._is_encoded else self.raw
        if not isinstance(self._values, dict):
            raise ValueError("constructor arguments are no JSON object")

    @classmethod
    def of(cls, init: Mapping[str, Any], owner: str = "the model") -> Arguments:
        """Return arguments as they are stored, apart from the caller's objects.

        Args:
            owner: what they are arguments of, for the error.

        Raises:
            UnstorableInit: one of them could not be given back as it is.
        """
        if isinstance(init, Arguments):
            return init
        encoded = {}
        for name, value in init.items():
            if not isinstance(name, str):
                raise UnstorableInit(owner, str(name), "is named by something that is not text")
            try:
                encoded[name] = encode(value, "", exact=True)
            except UnencodableValue as error:
                raise UnstorableInit(owner, f"{name}{error.where}", error.reason) from error
        is_plain = TAG not in encoded and not any(map(_has_tag, encoded.values()))
        return cls(encoded if is_plain else {TAG: _ENVELOPE, "v": encoded})

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        return decode(value) if self._is_encoded else copy.deepcopy(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict(self))


def without_secrets(init: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arguments without those that look like secrets, and the paths of these: ``args.api_key``.

    What is nested more deeply than can be stored comes back as it is; every object is visited once.
    """
    found: list[str] = []
    done: dict[int, Any] = {}

    def kept(value: Any, path: str, levels: int = MOST_LEVELS) -> Any:
        if levels < 0 or type(value) not in (Namespace, dict, list, tuple):
            return value
        if id(value) not in done:
            done[id(value)] = value  # found by what it holds, if it holds itself
            done[id(value)] = visited(value, path, levels - 1)
        return done[id(value)]

    def visited(value: Any, path: str, levels: int) -> Any:
        if isinstance(value, Namespace):
            copied = Namespace()
            vars(copied).update(visited(vars(value), path, levels))  # whose keys need not be names
            return copied
        if isinstance(value, dict):
            items = {}
            for key, item in value.items():
                where = (f"{path}.{key}" if path else key) if isinstance(key, str) else path
                if isinstance(key, str) and _is_secret(key, item):
                    found.append(where)
                else:
                    items[key] = kept(item, where, levels)
            return items
        return type(value)(kept(item, f"{path}.{i}", levels) for i, item in enumerate(value))

    return visited(dict(init), "", MOST_LEVELS), tuple(found)


def _is_secret(key: str, value: Any) -> bool:
    """Whether a name and its text look like a secret; a number, a truth value or nothing never is one."""
    if not isinstance(value, (str, bytes)) or not value:
        return False
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower().replace("-", "_")
    if re.fullmatch(_WORDS, name) or re.fullmatch(_TOKENS, name):
        return True
    text = value if isinstance(value, str) else value.decode("latin-1")
    return bool(re.fullmatch(_OTHER_TOKENS, name) and re.fullmatch(r"[\w.~+/=:-]{8,}", text))


def _has_tag(encoded: Any) -> bool:
    if isinstance(encoded, dict):
        return TAG in encoded or any(map(_has_tag, encoded.values()))
    return isinstance(encoded, list) and any(map(_has_tag, encoded))
