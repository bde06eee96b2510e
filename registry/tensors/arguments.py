"""The constructor arguments of a model as a version keeps them: JSON that gives back the very values, types too."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from registry.errors.checkpoints import UnencodableValue
from registry.errors.intake import UnstorableInit
from registry.tensors.tag import TAG

STYLES = ("kwargs", "namespace", "dict")
"""How a class takes its constructor arguments: each by its name, all in one ``argparse.Namespace``, all in one dict."""

UNKNOWN = "unknown"
"""How a class takes its arguments where nobody said what they are, which is not the same as that there are none."""

POSITIONAL = "*"
"""Key of the list of those arguments that a constructor takes by position alone: no parameter can be called so."""

_ENVELOPE = "arguments"


class Arguments(Mapping[str, Any]):
    """Arguments by name. Every look makes a value anew, so nobody can change what is stored.

    Plain JSON values are stored as they are. As soon as one value needs more (a tuple, a dict with whole numbers as
    keys), all are kept in the encoding of ``registry.tensors.encoding``, in an envelope that says so.
    """

    def __init__(self, raw: Mapping[str, Any] | None = None) -> None:
        self.raw: dict[str, Any] = dict(raw or {})
        """The JSON object that is stored, and digested."""
        self._is_encoded = self.raw.get(TAG) == _ENVELOPE
        self._values = self.raw["v"] if self._is_encoded else self.raw
        if not isinstance(self._values, dict):
            raise ValueError("constructor arguments are not a JSON object")

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
        from registry.tensors.encoding import encode

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
        if not self._is_encoded:
            return copy.deepcopy(value)
        from registry.tensors.decoding import decode

        return decode(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict(self))


def _has_tag(encoded: Any) -> bool:
    if isinstance(encoded, dict):
        return TAG in encoded or any(map(_has_tag, encoded.values()))
    return isinstance(encoded, list) and any(map(_has_tag, encoded))
