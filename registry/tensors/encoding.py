"""Values that are no tensors of the state dict, as JSON: extra states, numbers, training state."""

from __future__ import annotations

import base64
import math
import struct
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from pathlib import PosixPath
from types import SimpleNamespace
from typing import Any

from registry.errors.checkpoints import UnencodableValue
from registry.tensors import numpy_values
from registry.tensors.decoding import decode, torch_constant
from registry.tensors.foreign import (
    FACTORIES,
    MOST_LEVELS,
    MOST_NODES,
    NAN,
    NamespaceRecord,
    PathText,
    SimpleNamespaceRecord,
    Size,
    TensorRef,
    Text,
    TorchConstant,
)
from registry.tensors.inlined import OURS, InlineEncoder, written_as
from registry.tensors.numpy_values import Scalar
from registry.tensors.tag import TAG

_PLAIN_NAN = struct.pack(">d", math.nan)

_KEPT = (str, int, float, complex, bytes, bytearray, list, tuple, set, frozenset, dict, OrderedDict, Namespace)
"""Types that come back as they are; what derives from them is another type, and would come back as one of these."""


def encode(value: Any, where: str = "the value", *, exact: bool = False) -> Any:
    """Return the JSON form of an inert Python value.

    Args:
        where: names the value in errors, with the path into it: ``optimizer/state/0``.
        exact: keep every type, and refuse what ``decode`` would give back as another, such as an enum that is also an
            int. Otherwise that becomes what it derives from, and a number of numpy one of Python.

    Raises:
        UnencodableValue: it holds something that is no plain data, or is too deep or too large.
    """
    return _Encoder(exact).encode(value, where, MOST_LEVELS)


def plain(raw: Any) -> Any:
    """Return the JSON form that a value has when its types do not matter, of any form that it was stored in."""
    return encode(decode(raw))


def encode_all(
    values: Mapping[str, Any], exact: Callable[[str], bool] = lambda name: False, *, typed: bool = False
) -> dict[str, Any]:
    """Return the JSON forms of several values, which together may not be larger than one.

    Args:
        exact: whether the value of a name has to come back with its types.
        typed: keep the types of the others, too, wherever that is possible.

    Raises:
        UnencodableValue: as ``encode`` does, with the value's name.
    """
    encoder = _Encoder(exact=False)
    encoded = {}
    for name, value in values.items():
        encoder.strict = exact(name)
        encoder.exact = encoder.strict or typed
        encoded[name] = encoder.encode(value, name, MOST_LEVELS)
    return encoded


def encode_metadata(metadata: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the JSON form of a state dict's ``_metadata``; types are kept wherever that is possible.

    Raises:
        UnencodableValue: a module kept something in it that is no plain data, or too much.
    """
    encoder = _Encoder(exact=False)
    encoder.exact = True
    return {
        path: encoder.encode(facts if type(facts) is dict else dict(facts), f"_metadata of '{path}'", MOST_LEVELS)
        for path, facts in metadata.items()
    }


def _inside(where: str, key: object) -> str:
    """Name a place inside of another, which is done for every value: a long key or a deep place would be copied."""
    return f"{where}/{key!s:.60}" if len(where) < 500 else where


class _Encoder(InlineEncoder):
    def __init__(self, exact: bool) -> None:
        super().__init__(exact, exact)
        self.left = MOST_NODES

    def encode(self, value: Any, where: str, levels: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise UnencodableValue(where, f"it unfolds to more than {MOST_NODES} parts")
        if levels < 0:
            raise UnencodableValue(where, f"it is nested more than {MOST_LEVELS} levels deep, or holds itself")
        if value is None or value is True or value is False:
            return value
        if isinstance(value, Scalar):
            return (
                self.scalar(value.spelling, value.data, where)
                if self.exact
                else self.encode(value.plain, where, levels)
            )
        if self.exact and type(value) not in _KEPT:
            return self._tagged_exactly(value, where, levels)
        return self._by_base(value, where, levels)

    def _by_base(self, value: Any, where: str, levels: int) -> Any:
        """Encode a value as the plain type that it is, or derives from."""
        if isinstance(value, str):
            return self._text(value, where)
        if isinstance(value, int):
            return self._integer(int(value), where)
        if isinstance(value, float):
            return self._float(float(value))
        if isinstance(value, dict):
            return self._dict(value, where, levels)
        if isinstance(value, list):
            return [self.encode(item, _inside(where, i), levels - 1) for i, item in enumerate(value)]
        return self._tagged(value, where, levels)

    def _float(self, value: float) -> Any:
        return value if math.isfinite(value) else {TAG: "float", "v": self._digits(value)}

    def _digits(self, value: float) -> str:
        """Return the text of a float; of a NaN with a sign or a payload its bits."""
        bits = struct.pack(">d", value)
        return f"{NAN}{bits.hex()}" if self.exact and value != value and bits != _PLAIN_NAN else repr(value)

    def _is_text(self, key: str) -> bool:
        return not self.exact or type(key) is str or isinstance(key, Text)

    @staticmethod
    def _text(value: str, where: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UnencodableValue(where, "it is text that is not valid Unicode") from None
        return str(value)

    @staticmethod
    def _integer(value: int, where: str) -> int:
        if value.bit_length() > 8192:
            # Python refuses to print integers of more than 4300 digits, and printing them is quadratic.
            raise UnencodableValue(where, "it is an integer of more than 8192 bits")
        return value

    def _dict(self, value: dict[Any, Any], where: str, levels: int) -> Any:
        ordered = isinstance(value, OrderedDict)
        if not ordered and TAG not in value and all(isinstance(k, str) and self._is_text(k) for k in value):
            return {self._text(k, where): self.encode(v, _inside(where, k), levels - 1) for k, v in value.items()}
        raw = {TAG: "odict" if ordered else "dict", "v": self._pairs(value, where, levels)}
        if self.exact and ordered and vars(value):  # a state dict's `_metadata`
            raw["attributes"] = self.encode(vars(value), where, levels - 1)
        return raw

    def _tagged_exactly(self, value: Any, where: str, levels: int) -> Any:
        """Encode what derives from a plain type only if it comes back as what it is."""
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        base = next((kind for kind in _KEPT if isinstance(value, kind)), None)
        if type(value) is defaultdict:
            factory = next((kind for kind, made in FACTORIES.items() if made is value.default_factory), None)
            if value.default_factory is None or factory is not None:
                return {TAG: "defaultdict", "of": factory, "v": self._pairs(value, where, levels)}
            if self.strict:
                raise UnencodableValue(where, "it is a defaultdict that makes its values with code; give a dict")
        if type(value) is Counter:
            return {TAG: "counter", "v": self._pairs(value, where, levels)}
        if (of_numpy := self.of_numpy(value, name, where)) is not None:
            return of_numpy
        if base is None or isinstance(value, Size) or name == "torch.Size":
            return self._tagged(value, where, levels)
        if isinstance(value, Text):
            return self._text(value, where)
        if isinstance(value, PathText):
            return {TAG: "path", "v": self._text(value, where)}
        if isinstance(value, (NamespaceRecord, SimpleNamespaceRecord)):
            tag = "namespace" if isinstance(value, NamespaceRecord) else "simplenamespace"
            return {TAG: tag, "v": self.encode(dict(value), where, levels - 1)}
        if not self.strict:
            return self._by_base(value, where, levels)
        if name.startswith(OURS):
            raise UnencodableValue(where, f"it is an object of a class that is only read as a {base.__name__}")
        raise UnencodableValue(
            where,
            f"it is a {name}, which would come back as a plain {base.__name__}; convert it with {base.__name__}()",
        )

    def _pairs(self, value: Mapping[Any, Any], where: str, levels: int) -> list[list[Any]]:
        return [
            [self.encode(k, where, levels - 1), self.encode(v, _inside(where, k), levels - 1)] for k, v in value.items()
        ]

    def _tagged(self, value: Any, where: str, levels: int) -> Any:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        if isinstance(value, Size) or name == "torch.Size":
            return self._of_torch({TAG: "size", "v": [int(n) for n in value]}, where)
        if isinstance(value, tuple):
            return {TAG: "tuple", "v": [self.encode(v, _inside(where, i), levels - 1) for i, v in enumerate(value)]}
        if isinstance(value, (set, frozenset)):
            items = [self.encode(v, where, levels - 1) for v in value]
            return {TAG: "frozenset" if isinstance(value, frozenset) else "set", "v": sorted(items, key=repr)}
        if isinstance(value, (bytes, bytearray)):
            return {TAG: "bytes" if isinstance(value, bytes) else "bytearray", "v": base64.b64encode(value).decode()}
        if isinstance(value, complex):
            return {TAG: "complex", "v": [self._digits(value.real), self._digits(value.imag)]}
        if isinstance(value, range):
            return {TAG: "range", "v": [self._integer(n, where) for n in (value.start, value.stop, value.step)]}
        if isinstance(value, slice):
            return {TAG: "slice", "v": [self.encode(v, where, 1) for v in (value.start, value.stop, value.step)]}
        if type(value) in (Namespace, SimpleNamespace):
            tag = "namespace" if type(value) is Namespace else "simplenamespace"
            return {TAG: tag, "v": self.encode(vars(value), where, levels - 1)}
        if type(value) is PosixPath:
            return {TAG: "path", "v": self._text(str(value), where)}
        if isinstance(value, TensorRef):
            return {TAG: "place", "v": value.name} | written_as(value.is_parameter, value.requires_grad)
        if isinstance(value, TorchConstant) and value.kind == "numpy.dtype":
            return {TAG: value.kind, "v": value.name}
        if isinstance(value, TorchConstant):
            return self._of_torch({TAG: value.kind, "v": value.name.removeprefix("torch.")}, where)
        if name in {"torch.dtype", "torch.device", "torch.layout"}:
            return {TAG: name.removeprefix("torch."), "v": str(value).removeprefix("torch.")}
        return self._of_library(value, name, where, levels)

    def _of_torch(self, raw: dict[str, Any], where: str) -> dict[str, Any]:
        """Refuse what a file calls one of torch's constants and torch could not give back."""
        if raw[TAG] != "dtype":  # of which the reader knows the names; the others are rare, and torch is asked
            try:
                torch_constant(raw)
            except (RuntimeError, ValueError, TypeError) as error:
                raise UnencodableValue(where, f"torch has no {raw[TAG]} {raw['v']!s:.40}") from error
        return raw

    def _of_library(self, value: Any, name: str, where: str, levels: int) -> Any:
        """Encode what torch or numpy made, or stands for that."""
        found = self.of_array(value, name, where)
        if found is not None:
            return found
        numpy = numpy_values.library()
        if numpy is not None and isinstance(value, numpy.generic):
            item = value.item()
            if not isinstance(item, numpy.generic):
                return self.encode(item, where, levels - 1)
        raise UnencodableValue(where, f"it is {value}" if name.startswith(OURS) else f"it is a {name}")
