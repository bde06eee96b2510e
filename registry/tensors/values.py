"""Values that are no tensors of the state dict, as JSON and back: extra states, numbers, training state."""

from __future__ import annotations

import base64
import math
import struct
import sys
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PosixPath
from types import SimpleNamespace
from typing import Any, Literal, Protocol, runtime_checkable

from registry.errors.checkpoints import UnencodableValue
from registry.tensors import numpy_values
from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.numpy_values import Scalar
from registry.tensors.spec import TensorSpec

TAG = "$"
"""The key that marks an object of the JSON as an encoded value and not as a dict."""

MOST_LEVELS = 100
MOST_NODES = 2_000_000
"""A value may refer to one list many times over; without a limit a few bytes unfold to more than any memory."""

MOST_INLINE = 16 << 20
"""Bytes of a tensor that may stand in the JSON; larger ones belong among the tensors."""

ARRAY = "numpy.ndarray"
TENSOR, PARAMETER = "torch.Tensor", "torch.nn.parameter.Parameter"

_NAN, _PLAIN_NAN = "nan:", struct.pack(">d", math.nan)

_KEPT = (str, int, float, complex, bytes, bytearray, list, tuple, set, frozenset, dict, OrderedDict, Namespace)
"""Types that come back as they are; what derives from them is another type, and would come back as one of these."""

FACTORIES: Mapping[str, Any] = {
    kind.__name__: kind for kind in (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
}
"""What a ``defaultdict`` may make its values with: nothing that has to be imported to be had again."""


class Size(tuple[int, ...]):
    """Stands for a ``torch.Size``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TorchConstant:
    """Stands for a constant of torch, such as ``torch.float32`` or ``torch.device("cuda:0")``, or a dtype of numpy."""

    kind: Literal["dtype", "device", "layout", "numpy.dtype"]
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """Stands for a numpy array; C-contiguous, little-endian."""

    spec: TensorSpec
    data: bytes
    is_swapped: bool = False
    """Whether the array itself was big-endian."""
    kind: str = ARRAY
    """Its class."""


@dataclass(frozen=True, slots=True)
class TensorRef:
    """Stands for a tensor that is stored beside the value, under this name."""

    name: str


class Text(str):
    """Stands for a text that was read as something else, such as one of Python 2."""


class Worded(str):
    """Stands for something that was read as a text and is more than that, such as a date."""


class Duration(float):
    """Stands for a ``datetime.timedelta``, in seconds."""


class Items(list[Any]):
    """Stands for an object of a class that derives from a list."""


class Row(tuple[Any, ...]):
    """Stands for an object of a class that derives from a tuple, such as a namedtuple."""


class PathText(Worded):
    """Stands for a ``pathlib.PosixPath``."""


class Record(dict[str, Any]):
    """Attributes, by name, of an object that is plain data (an omegaconf dict, an EasyDict)."""


class NamespaceRecord(Record):
    """Stands for an ``argparse.Namespace``."""


class SimpleNamespaceRecord(Record):
    """Stands for a ``types.SimpleNamespace``."""


@dataclass(eq=False, repr=False)
class Foreign:
    """An object of a class that is not read: what was written of it, never built."""

    name: str
    """Of the class or function: ``"builtins.exec"``."""
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    """What was appended to it or set on it."""

    def __repr__(self) -> str:
        return f"<{self.name}, not read>"


@runtime_checkable
class _Tensor(Protocol):
    """What a tensor of a file or of memory offers (see ``registry.checkpoints.weights.TensorSource``)."""

    @property
    def spec(self) -> TensorSpec: ...

    def buffer(self) -> memoryview: ...


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
    """Return the JSON form of a state dict's ``_metadata``; versions by number, which is all that most have, stay.

    Raises:
        UnencodableValue: a module kept something in it that is no plain data, or too much.
    """
    encoder = _Encoder(exact=False)
    return {
        path: encoder.encode(facts if type(facts) is dict else dict(facts), f"_metadata of '{path}'", MOST_LEVELS)
        for path, facts in metadata.items()
    }


def decode_metadata(raw: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]] | None:
    """Return the ``_metadata`` that ``encode_metadata`` was given."""
    return None if raw is None else {path: decode(facts) for path, facts in raw.items()}


def _inside(where: str, key: object) -> str:
    """Name a place inside of another, which is done for every value: a long key or a deep place would be copied."""
    return f"{where}/{key!s:.60}" if len(where) < 500 else where


class _Encoder:
    def __init__(self, exact: bool) -> None:
        self.exact = exact
        """Write down the types that have a form."""
        self.strict = exact
        """Refuse the others."""
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
                self._scalar(value.spelling, value.data, where)
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
        return f"{_NAN}{bits.hex()}" if self.exact and value != value and bits != _PLAIN_NAN else repr(value)

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
        if (of_numpy := self._of_numpy(value, name, where)) is not None:
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
        if name.startswith("registry."):
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
            return {TAG: "place", "v": value.name}
        if isinstance(value, TorchConstant) and value.kind == "numpy.dtype":
            return {TAG: value.kind, "v": value.name}
        if isinstance(value, TorchConstant):
            return self._of_torch({TAG: value.kind, "v": value.name.removeprefix("torch.")}, where)
        if name in {"torch.dtype", "torch.device", "torch.layout"}:
            return {TAG: name.removeprefix("torch."), "v": str(value).removeprefix("torch.")}
        return self._array(value, name, where, levels)

    def _of_torch(self, raw: dict[str, Any], where: str) -> dict[str, Any]:
        """Refuse what a file calls one of torch's constants and torch could not give back."""
        if raw[TAG] != "dtype":  # of which the reader knows the names; the others are rare, and torch is asked
            try:
                _torch_constant(raw)
            except (RuntimeError, ValueError, TypeError) as error:
                raise UnencodableValue(where, f"torch has no {raw[TAG]} {raw['v']!s:.40}") from error
        return raw

    def _array(self, value: Any, name: str, where: str, levels: int) -> Any:
        torch, numpy = sys.modules.get("torch"), numpy_values.library()
        if isinstance(value, Array):
            if self.strict and value.kind != ARRAY:
                raise UnencodableValue(where, f"it is a {value.kind}, which would come back as a plain array")
            return self._inline("array", value.spec, value.data, where) | self._order(value.is_swapped)
        if name.startswith("registry.") and isinstance(value, _Tensor):
            if value.spec.dtype not in ITEM_SIZES:
                raise UnencodableValue(where, f"a tensor of {value.spec.dtype} cannot be stored")
            kind, needs_gradient = getattr(value, "kind", TENSOR), getattr(value, "requires_grad", False)
            return self._inline("tensor", value.spec, value.buffer, where) | self._as(kind, needs_gradient, where)
        if torch is not None and isinstance(value, torch.Tensor):
            how = self._as(name, value.requires_grad, where)
            try:
                return self._live(value, torch, where) | how
            except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
                raise UnencodableValue(where, f"it is a {name} whose values cannot be read") from error
        of_numpy = self._of_numpy(value, name, where)
        if of_numpy is not None:
            return of_numpy
        if numpy is not None and isinstance(value, numpy.generic):
            item = value.item()
            if not isinstance(item, numpy.generic):
                return self.encode(item, where, levels - 1)
        elif numpy is not None and isinstance(value, numpy.ndarray) and value.dtype.name in ITEM_SIZES:
            return self._native(value, where)
        raise UnencodableValue(where, f"it is {value}" if name.startswith("registry.") else f"it is a {name}")

    def _as(self, kind: str, requires_grad: bool, where: str) -> dict[str, Any]:
        """Return what is said of a tensor beside its values."""
        if not self.exact:
            return {}
        if kind not in (TENSOR, PARAMETER) and self.strict:
            raise UnencodableValue(where, f"it is a {kind}, which would come back as a plain tensor; detach it")
        return {**({"as": "parameter"} if kind == PARAMETER else {}), **({"grad": True} if requires_grad else {})}

    def _of_numpy(self, value: Any, name: str, where: str) -> dict[str, Any] | None:
        """Return the exact form of a value of numpy; None of anything else, and of what is to become a plain value."""
        numpy = numpy_values.library()
        if numpy is None:
            return None
        if isinstance(value, numpy.dtype):
            spelling = numpy_values.spelling_of(value)
            if spelling is None:
                raise UnencodableValue(where, f"it is a {name}")
            return {TAG: "numpy.dtype", "v": spelling}
        if not self.exact or not isinstance(value, (numpy.generic, numpy.ndarray)):
            return None
        found = numpy_values.spelled(value)
        if found is not None:
            if isinstance(value, numpy.generic):
                return self._scalar(*found, where)
            if value.dtype.name in ITEM_SIZES:
                return self._native(value, where) | self._order(found[0].startswith(">"))
            return self._bytes("array", found[0], value.shape, found[1], where)
        if self.strict:
            raise UnencodableValue(where, f"it is a {name} of {value.dtype}; give it as plain Python values")
        return None

    def _order(self, is_swapped: bool) -> dict[str, Any]:
        return {"order": ">"} if self.exact and is_swapped else {}

    def _native(self, value: Any, where: str) -> dict[str, Any]:
        little = value.astype(value.dtype.newbyteorder("<"))
        return self._inline("array", TensorSpec(value.dtype.name, value.shape), little.tobytes(), where)

    def _scalar(self, spelling: str, data: bytes, where: str) -> dict[str, Any]:
        return self._bytes("scalar", numpy_values.NAMES.get(spelling[1:], spelling), (), data, where)

    def _live(self, value: Any, torch: Any, where: str) -> Any:
        spec = TensorSpec(str(value.dtype).removeprefix("torch."), tuple(value.shape))
        if spec.dtype not in ITEM_SIZES or value.layout != torch.strided or value.device.type == "meta":
            raise UnencodableValue(where, f"a {value.layout} tensor of {spec.dtype} on {value.device} cannot be stored")
        if spec.numel == 0:
            return self._inline("tensor", spec, b"", where)
        plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
        return self._inline("tensor", spec, lambda: bytes(plain.tolist()), where)

    @staticmethod
    def _inline(
        tag: str, spec: TensorSpec, data: bytes | Callable[[], bytes | memoryview], where: str
    ) -> dict[str, Any]:
        if spec.nbytes > MOST_INLINE:
            raise UnencodableValue(where, f"a tensor of {spec.nbytes} bytes is too large to stand among plain values")
        return _Encoder._bytes(tag, spec.dtype, spec.shape, data() if callable(data) else data, where)

    @staticmethod
    def _bytes(tag: str, dtype: str, shape: tuple[int, ...], data: bytes | memoryview, where: str) -> dict[str, Any]:
        if len(data) > MOST_INLINE:
            raise UnencodableValue(where, f"an array of {len(data)} bytes is too large to stand among plain values")
        return {TAG: tag, "dtype": dtype, "shape": list(shape), "v": base64.b64encode(data).decode()}


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


def _torch_constant(raw: Mapping[str, Any]) -> Any:
    import torch

    if raw[TAG] == "size":
        return torch.Size(raw["v"])
    if raw[TAG] == "device":
        return torch.device(raw["v"])
    constant = getattr(torch, raw["v"], None)
    if not isinstance(constant, (torch.dtype, torch.layout)):
        raise ValueError(f"torch has no {raw[TAG]} {raw['v']!r}")
    return constant


def _tensor(raw: Mapping[str, Any]) -> Any:
    import torch

    dtype = getattr(torch, raw["dtype"], None)
    if raw["dtype"] not in ITEM_SIZES or not isinstance(dtype, torch.dtype):
        raise ValueError(f"unknown dtype {raw['dtype']!r}")
    data = bytearray(base64.b64decode(raw["v"]))
    if len(data) != TensorSpec(raw["dtype"], tuple(raw["shape"])).nbytes:
        raise ValueError("the bytes of a tensor do not fit its shape")
    tensor = torch.frombuffer(data, dtype=torch.uint8).view(dtype).reshape(raw["shape"]) if data else None
    tensor = torch.empty(raw["shape"], dtype=dtype) if tensor is None else tensor
    if raw.get("as") == "parameter":
        return torch.nn.Parameter(tensor, requires_grad=bool(raw.get("grad")))
    return tensor.requires_grad_() if raw.get("grad") else tensor


def _array(raw: Mapping[str, Any]) -> Any:
    """Return a numpy array, or a tensor where numpy has no such dtype."""
    if raw["dtype"] not in ITEM_SIZES:
        return numpy_values.array(raw["dtype"], raw["shape"], base64.b64decode(raw["v"]))
    tensor = _tensor(raw)
    try:
        array = tensor.numpy()
    except (RuntimeError, TypeError):
        return tensor
    return array.astype(array.dtype.newbyteorder(">")) if raw.get("order") == ">" else array


def _float(text: str) -> float:
    if not text.startswith(_NAN):
        return float(text)
    [value] = struct.unpack(">d", bytes.fromhex(text.removeprefix(_NAN)))
    return float(value)


def _with_attributes(value: Any, attributes: Mapping[str, Any]) -> Any:
    vars(value).update(attributes)
    return value


def _scalar(raw: Mapping[str, Any]) -> Any:
    """Return a value of numpy, or a plain number where numpy has none such."""
    if raw["dtype"] not in ITEM_SIZES:
        return numpy_values.live_scalar(raw["dtype"], base64.b64decode(raw["v"]))
    array = _array(raw)
    return array[()] if type(array).__module__ == "numpy" else array.item()


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
    "scalar": _scalar,
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
    "place": lambda raw: TensorRef(raw["v"]),
    "size": _torch_constant,
    "dtype": _torch_constant,
    "device": _torch_constant,
    "layout": _torch_constant,
    "tensor": _tensor,
    "array": _array,
}
