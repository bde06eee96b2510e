"""Stand-ins for values that no plain Python type is: what a file or a program had, as inert data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from registry.tensors.spec import TensorSpec

MOST_LEVELS = 100
MOST_NODES = 2_000_000
"""A value may refer to one list many times over; without a limit a few bytes unfold to more than any memory."""

ARRAY = "numpy.ndarray"
TENSOR, PARAMETER = "torch.Tensor", "torch.nn.parameter.Parameter"

NAN = "nan:"
"""What the text of a NaN begins with whose sign or payload is not the usual one; its bits follow."""

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
    is_parameter: bool = False
    requires_grad: bool = False


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
