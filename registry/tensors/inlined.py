"""Arrays, scalars and tensors whose bytes stand in the JSON of a value, written and read."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Mapping
from typing import Any

from registry.errors.checkpoints import UnencodableValue
from registry.tensors import numpy_values
from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.foreign import ARRAY, PARAMETER, TENSOR, Array
from registry.tensors.source import TensorBytes, TensorSource
from registry.tensors.spec import TensorSpec
from registry.tensors.tag import TAG

OURS = f"{__name__.partition('.')[0]}."
"""What the names of this package's own classes begin with."""
MOST_INLINE = 16 << 20
"""Bytes of a tensor that may stand in the JSON; larger ones belong among the tensors."""


class InlineEncoder:
    """Writes what torch and numpy make.

    Args:
        exact: write down the types that have a form.
        strict: refuse the others.
    """

    def __init__(self, exact: bool, strict: bool) -> None:
        self.exact = exact
        self.strict = strict

    def of_array(self, value: Any, name: str, where: str) -> dict[str, Any] | None:
        """Return the form of a tensor or an array, or of what stands for one; None of anything else.

        Raises:
            UnencodableValue: it cannot be read, is too large, or would come back as something else.
        """
        torch, numpy = sys.modules.get("torch"), numpy_values.library()
        if isinstance(value, Array):
            if self.strict and value.kind != ARRAY:
                raise UnencodableValue(where, f"it is a {value.kind}, which would come back as a plain array")
            return _inline("array", value.spec, value.data, where) | self._order(value.is_swapped)
        if name.startswith(OURS) and isinstance(value, TensorSource):
            if value.spec.dtype not in ITEM_SIZES:
                raise UnencodableValue(where, f"a tensor of {value.spec.dtype} cannot be stored")
            kind, needs_gradient = getattr(value, "kind", TENSOR), getattr(value, "requires_grad", False)
            return _inline("tensor", value.spec, value.buffer, where) | self._as(kind, needs_gradient, where)
        if torch is not None and isinstance(value, torch.Tensor):
            how = self._as(name, value.requires_grad, where)
            try:
                return _live(value, torch, where) | how
            except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
                raise UnencodableValue(where, f"it is a {name} whose values cannot be read") from error
        found = self.of_numpy(value, name, where)
        if found is None and numpy is not None and isinstance(value, numpy.ndarray) and value.dtype.name in ITEM_SIZES:
            return _native(value, where)
        return found

    def of_numpy(self, value: Any, name: str, where: str) -> dict[str, Any] | None:
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
                return self.scalar(*found, where)
            if value.dtype.name in ITEM_SIZES:
                return _native(value, where) | self._order(found[0].startswith(">"))
            return _bytes("array", found[0], value.shape, found[1], where)
        if self.strict:
            raise UnencodableValue(where, f"it is a {name} of {value.dtype}; give it as plain Python values")
        return None

    def scalar(self, spelling: str, data: bytes, where: str) -> dict[str, Any]:
        """Return the form of one value, by the spelling of its dtype."""
        return _bytes("scalar", numpy_values.NAMES.get(spelling[1:], spelling), (), data, where)

    def _as(self, kind: str, requires_grad: bool, where: str) -> dict[str, Any]:
        """Return what is said of a tensor beside its values."""
        if not self.exact:
            return {}
        if kind not in (TENSOR, PARAMETER) and self.strict:
            raise UnencodableValue(
                where, f"it is a {kind}, which would come back as a plain tensor; give it .as_subclass(torch.Tensor)"
            )
        return written_as(kind == PARAMETER, requires_grad)

    def _order(self, is_swapped: bool) -> dict[str, Any]:
        return {"order": ">"} if self.exact and is_swapped else {}


def written_as(is_parameter: bool, requires_grad: bool) -> dict[str, Any]:
    """Return what is said of a tensor beside its values; nothing of one that is only these."""
    return {**({"as": "parameter"} if is_parameter else {}), **({"grad": True} if requires_grad else {})}


def _native(value: Any, where: str) -> dict[str, Any]:
    little = value.astype(value.dtype.newbyteorder("<"))
    return _inline("array", TensorSpec(value.dtype.name, value.shape), little.tobytes(), where)


def _live(value: Any, torch: Any, where: str) -> dict[str, Any]:
    from registry.tensors.memory import content, spec_of

    spec = spec_of(value)
    if spec.dtype not in ITEM_SIZES or value.layout != torch.strided or value.device.type == "meta":
        raise UnencodableValue(where, f"a {value.layout} tensor of {spec.dtype} on {value.device} cannot be stored")
    return _inline("tensor", spec, lambda: content(value), where)


def _inline(tag: str, spec: TensorSpec, data: bytes | Callable[[], memoryview], where: str) -> dict[str, Any]:
    if spec.nbytes > MOST_INLINE:
        raise UnencodableValue(where, f"a tensor of {spec.nbytes} bytes is too large to stand among plain values")
    return _bytes(tag, spec.dtype, spec.shape, data() if callable(data) else data, where)


def _bytes(tag: str, dtype: str, shape: tuple[int, ...], data: bytes | memoryview, where: str) -> dict[str, Any]:
    if len(data) > MOST_INLINE:
        raise UnencodableValue(where, f"an array of {len(data)} bytes is too large to stand among plain values")
    return {TAG: tag, "dtype": dtype, "shape": list(shape), "v": base64.b64encode(data).decode()}


def tensor(raw: Mapping[str, Any]) -> Any:
    """Return a tensor, in memory of its own.

    Raises:
        ValueError: it is not what was written.
    """
    import torch

    from registry.tensors.memory import tensor_over

    spec = TensorSpec(raw["dtype"], tuple(raw["shape"]))
    if spec.dtype not in ITEM_SIZES or not isinstance(getattr(torch, spec.dtype, None), torch.dtype):
        raise ValueError(f"unknown dtype {raw['dtype']!r}")
    data = bytearray(base64.b64decode(raw["v"]))
    if len(data) != spec.nbytes:
        raise ValueError("the bytes of a tensor do not fit its shape")
    return as_written(tensor_over(spec, data), raw.get("as") == "parameter", bool(raw.get("grad")))


def as_written(found: Any, is_parameter: bool, requires_grad: bool) -> Any:
    """Return a tensor that was read as what it was, over the same memory."""
    if is_parameter:
        import torch

        return torch.nn.Parameter(found, requires_grad=requires_grad)
    return found.detach().requires_grad_() if requires_grad else found


def source_of(raw: Any) -> TensorBytes | None:
    """Return the dtype, shape and bits of a tensor that stands in the JSON; None of anything else."""
    if not isinstance(raw, dict) or raw.get(TAG) != "tensor":
        return None
    return TensorBytes(TensorSpec(raw["dtype"], tuple(raw["shape"])), memoryview(base64.b64decode(raw["v"])))


def array(raw: Mapping[str, Any]) -> Any:
    """Return a numpy array, or a tensor where numpy has no such dtype.

    Raises:
        ValueError: it is not what was written.
    """
    spelling = numpy_values.SPELLINGS.get(raw["dtype"])
    if spelling is None and raw["dtype"] in ITEM_SIZES:
        return tensor(raw)
    found = numpy_values.array(spelling or raw["dtype"], raw["shape"], base64.b64decode(raw["v"]))
    return found.astype(found.dtype.newbyteorder(">")) if raw.get("order") == ">" else found


def scalar(raw: Mapping[str, Any]) -> Any:
    """Return a value of numpy, or a plain number where numpy has none such.

    Raises:
        ValueError: it is not what was written.
    """
    if raw["dtype"] not in ITEM_SIZES:
        return numpy_values.live_scalar(raw["dtype"], base64.b64decode(raw["v"]))
    found = array(raw)
    return found[()] if type(found).__module__ == "numpy" else found.item()
