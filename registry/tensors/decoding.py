"""Values back from JSON, as ``registry.tensors.encoding`` writes them."""

from __future__ import annotations

import base64
import struct
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from registry.tensors import inlined, numpy_values
from registry.tensors.foreign import FACTORIES, NAN, TensorRef
from registry.tensors.tag import TAG


def decode(raw: Any) -> Any:
    """Return the value that ``encode`` was given; torch is imported only where something of torch is inside.

    Raises:
        ValueError: it is not what ``encode`` writes.
    """
    if isinstance(raw, list):
        return [decode(item) for item in raw]
    if not isinstance(raw, dict):
        return raw
    if TAG not in raw:
        return {key: decode(item) for key, item in raw.items()}
    decoder = _DECODERS.get(raw[TAG])
    if decoder is None:
        raise ValueError(f"unknown tag {raw[TAG]!r}")
    return decoder(raw)


def torch_constant(raw: Mapping[str, Any]) -> Any:
    import torch

    if raw[TAG] == "size":
        return torch.Size(raw["v"])
    if raw[TAG] == "device":
        return torch.device(raw["v"])
    constant = getattr(torch, raw["v"], None)
    if not isinstance(constant, (torch.dtype, torch.layout)):
        raise ValueError(f"torch has no {raw[TAG]} {raw['v']!r}")
    return constant


def _float(text: str) -> float:
    if not text.startswith(NAN):
        return float(text)
    [value] = struct.unpack(">d", bytes.fromhex(text.removeprefix(NAN)))
    return float(value)


def _with_attributes(value: Any, attributes: Mapping[str, Any]) -> Any:
    vars(value).update(attributes)
    return value


def _defaultdict(raw: Mapping[str, Any]) -> defaultdict[Any, Any]:
    if raw["of"] is not None and raw["of"] not in FACTORIES:
        raise ValueError(f"unknown factory {raw['of']!r}")
    factory = None if raw["of"] is None else FACTORIES[raw["of"]]
    return defaultdict(factory, ((decode(key), decode(value)) for key, value in raw["v"]))


_DECODERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "float": lambda raw: _float(raw["v"]),
    "defaultdict": _defaultdict,
    "counter": lambda raw: Counter({decode(key): decode(value) for key, value in raw["v"]}),
    "namespace": lambda raw: _with_attributes(Namespace(), decode(raw["v"])),
    "simplenamespace": lambda raw: _with_attributes(SimpleNamespace(), decode(raw["v"])),
    "path": lambda raw: Path(raw["v"]),
    "scalar": inlined.scalar,
    "numpy.dtype": lambda raw: numpy_values.dtype(raw["v"]),
    "dict": lambda raw: {decode(key): decode(value) for key, value in raw["v"]},
    "odict": lambda raw: _with_attributes(
        OrderedDict((decode(key), decode(value)) for key, value in raw["v"]), decode(raw.get("attributes", {}))
    ),
    "tuple": lambda raw: tuple(decode(item) for item in raw["v"]),
    "set": lambda raw: {decode(item) for item in raw["v"]},
    "frozenset": lambda raw: frozenset(decode(item) for item in raw["v"]),
    "bytes": lambda raw: base64.b64decode(raw["v"]),
    "bytearray": lambda raw: bytearray(base64.b64decode(raw["v"])),
    "complex": lambda raw: complex(_float(raw["v"][0]), _float(raw["v"][1])),
    "range": lambda raw: range(*raw["v"]),
    "slice": lambda raw: slice(*[decode(item) for item in raw["v"]]),
    "place": lambda raw: TensorRef(raw["v"], raw.get("as") == "parameter", bool(raw.get("grad"))),
    "size": torch_constant,
    "dtype": torch_constant,
    "device": torch_constant,
    "layout": torch_constant,
    "tensor": inlined.tensor,
    "array": inlined.array,
}


def decode_metadata(raw: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]] | None:
    """Return the ``_metadata`` that ``encode_metadata`` was given."""
    return None if raw is None else {path: decode(facts) for path, facts in raw.items()}
