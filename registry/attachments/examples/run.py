"""What a model computes on an example: run reproducibly, taken apart by path, compared within tolerances."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from registry.attachments.examples.example import Example
from registry.errors.models import first_line
from registry.errors.outputs import ExampleFailed, NothingToCompare, OutputsVary
from registry.modules.anatomy import is_training, parameters, parts, set_mode, tensors
from registry.modules.building import process_state as generators
from registry.tensors.memory import spec_of
from registry.tensors.spec import TensorSpec

ROOT = "output"
"""Path of an output that is one value; parts of a nested one are called ``logits``, ``hidden_states/0``."""

TOLERANCES: Mapping[torch.dtype, float] = {
    torch.float64: 1e-10,
    torch.complex128: 1e-10,
    torch.float32: 2e-5,
    torch.complex64: 2e-5,
    torch.float16: 5e-3,
    torch.bfloat16: 4e-2,
}
"""How far an element may be off, as a share of the largest one in its tensor, by the coarsest dtype of the computation.
Other processors and other numbers of threads add up in other orders; a wrong activation is off by far more."""

MOST_ELEMENTS = 1 << 20
"""Of a larger output this many elements are kept, evenly spread."""

_SEEDS = (0, 1)


@dataclass(frozen=True)
class Output:
    """One tensor of what a model returned."""

    spec: TensorSpec
    values: torch.Tensor
    """On the CPU, flat: all elements, or ``MOST_ELEMENTS`` evenly spread ones."""
    tolerance: float
    """Share of the largest absolute value; 0 for integers and truth values, which have to be equal."""

    @property
    def limit(self) -> float:
        """The largest difference that is allowed."""
        if not self.tolerance:
            return 0.0
        finite = _wide(self.values)
        finite = finite[torch.isfinite(finite)].abs()
        return max(self.tolerance * float(finite.max() if finite.numel() else 0.0), torch.finfo(torch.float32).tiny)


@dataclass(frozen=True)
class Outputs:
    """All that a model returned, by path."""

    tensors: Mapping[str, Output]
    plain: Mapping[str, Any]
    """Numbers, texts, None; and the type of what is neither these nor a container."""


@dataclass(frozen=True)
class Deviation:
    """The largest difference between two runs."""

    path: str
    what: str
    """A clause that says what is different there."""

    def __str__(self) -> str:
        return f"'{self.path}' {self.what}"


def run(model: nn.Module, example: Example, *, dtype: torch.dtype | None = None) -> Outputs:
    """Call a model with an example, in eval mode, without gradients and autocast, from fixed seeds.

    The model's modes and the process's random generators are as before when it returns.

    Args:
        dtype: of the floating-point inputs, for a model that was cast; by default their own.

    Raises:
        ExampleFailed: the model raised.
        NothingToCompare: it returned no tensor.
        OutputsVary: it returned something else when it was called again with other seeds.
    """
    first, again = (_run_once(model, example, dtype, seed) for seed in _SEEDS)
    deviation = compare(first, again)
    if deviation is not None:
        raise OutputsVary(type(model).__name__, str(deviation))
    return first


def compare(expected: Outputs, found: Outputs, *, cast: bool = False) -> Deviation | None:
    """Return where two runs differ most, relative to what is allowed; None if they agree.

    Args:
        cast: the model was cast since, so the dtype may differ, and the coarser tolerance of the two counts.
    """
    for path in [*expected.tensors, *expected.plain]:
        if path not in found.tensors and path not in found.plain:
            return Deviation(path, "is no longer returned")
    for path in [*found.tensors, *found.plain]:
        if path not in expected.tensors and path not in expected.plain:
            return Deviation(path, "was not returned")
    for path, value in expected.plain.items():
        if path in found.tensors or not _equal(value, found.plain[path]):
            return Deviation(path, f"is {found.plain.get(path, 'a tensor')!r} instead of {value!r}")
    worst: tuple[float, Deviation] | None = None
    for path, output in expected.tensors.items():
        if path not in found.tensors:
            return Deviation(path, f"is {found.plain[path]!r} instead of a tensor")
        deviation = _deviation(path, output, found.tensors[path], cast)
        if deviation is not None and (worst is None or deviation[0] > worst[0]):
            worst = deviation
    return worst[1] if worst else None


def _deviation(path: str, expected: Output, found: Output, cast: bool) -> tuple[float, Deviation] | None:
    if expected.spec.shape != found.spec.shape or (expected.spec.dtype != found.spec.dtype and not cast):
        return math.inf, Deviation(path, f"is {found.spec} instead of {expected.spec}")
    if not expected.values.numel():
        return None
    limit = dataclasses.replace(expected, tolerance=max(expected.tolerance, found.tolerance)).limit
    wanted, got = _wide(expected.values), _wide(found.values)
    same = (wanted == got) | (wanted.isnan() & got.isnan())
    # A NaN or an infinity on one side alone is an infinite difference, and the subtraction would make it NaN.
    difference = torch.where(same, 0.0, (got - wanted).abs().nan_to_num(nan=math.inf))
    position = int(difference.argmax())
    largest = float(difference[position])
    if largest <= limit:
        return None
    index = _index(position, expected)
    at = f" at {list(index)}" if index else ""
    allowed = f"{limit:.2g} is allowed" if limit else "it has to be equal"
    what = f"is {_number(got[position])} instead of {_number(wanted[position])}{at} ({largest:.3g} apart, {allowed})"
    return largest / limit if limit else math.inf, Deviation(path, what)


def _run_once(model: nn.Module, example: Example, dtype: torch.dtype | None, seed: int) -> Outputs:
    device = device_of(model)
    inputs = example.adapted(device, dtype)
    with _in_eval(model), generators.preserved(), _full_precision(), torch.no_grad(), _no_autocast(device):
        generators.seed(seed)
        try:
            returned = inputs.call(model)
        except Exception as error:
            raise ExampleFailed(type(model).__name__, f"{type(error).__name__}: {first_line(error)}") from error
    return _taken_apart(model, returned)


def _taken_apart(model: nn.Module, returned: Any) -> Outputs:
    coarsest = max((TOLERANCES.get(tensor.dtype, 0.0) for tensor in parameters(model)), default=0.0)
    tensors, plain = {}, {}
    for path, value in flatten(returned):
        if isinstance(value, torch.Tensor):
            tensors[path] = _output(value, coarsest)
        else:
            plain[path] = value
    if not tensors:
        raise NothingToCompare(type(model).__name__, type(returned).__name__)
    return Outputs(tensors, plain)


def _output(tensor: torch.Tensor, coarsest: float) -> Output:
    dense = tensor.detach() if tensor.layout == torch.strided else tensor.detach().to_dense()
    values = dense.to("cpu", copy=True).resolve_conj().resolve_neg().reshape(-1)
    own = TOLERANCES.get(tensor.dtype, 0.0)
    return Output(spec_of(tensor), _spread(values), max(own, coarsest) if own else 0.0)


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors and plain values of a nested output with their paths.

    Mappings, dataclasses, named and plain tuples and lists are entered; of any other object only the type is compared.
    """
    parts = _parts(value)
    if parts is not None:
        for name, part in parts.items():
            yield from flatten(part, f"{path}/{name}" if path else name)
    elif isinstance(value, (torch.Tensor, bool, int, float, str)) or value is None:
        yield path or ROOT, value
    else:
        yield path or ROOT, f"<{type(value).__module__}.{type(value).__qualname__}>"


def device_of(model: nn.Module) -> torch.device:
    """Return where a model is: the device of its first tensor, or the CPU if it has none."""
    first = next(iter(tensors(model)), None)
    return first.device if first is not None else torch.device("cpu")


def _parts(value: Any) -> dict[str, Any] | None:
    if isinstance(value, Mapping):  # Hugging Face's ModelOutput is one, too
        return {str(name): part for name, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if isinstance(value, (tuple, list)):
        return {str(position): part for position, part in enumerate(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


@contextlib.contextmanager
def _in_eval(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode, and each back into its own mode: a frozen part may be in eval in training."""
    training = [part for _, part in parts(model) if is_training(part)]
    try:
        set_mode(model, training=False)
        yield
    finally:
        for part in training:
            part.__dict__["training"] = True


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Compute float32 as float32: with TF32, which convolutions have by default, a GPU is a thousandth off a CPU."""
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # set by torch's newer switches, which this one may not be mixed with
        yield
        return
    convolutions = torch.backends.cudnn
    try:
        torch.set_float32_matmul_precision("highest")
        with convolutions.flags(enabled=convolutions.enabled, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _no_autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else contextlib.nullcontext()


def _spread(flat: torch.Tensor) -> torch.Tensor:
    return flat if flat.numel() <= MOST_ELEMENTS else flat[_kept(flat.numel())]


def _kept(count: int) -> torch.Tensor:
    return torch.arange(MOST_ELEMENTS) * count // MOST_ELEMENTS


def _index(position: int, output: Output) -> tuple[int, ...]:
    """Return where in its tensor a kept element was."""
    if output.spec.numel > MOST_ELEMENTS:
        position = int(_kept(output.spec.numel)[position])
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(position), output.spec.shape))


def _wide(values: torch.Tensor) -> torch.Tensor:
    return values.to(torch.complex128 if values.is_complex() else torch.float64)


def _number(element: torch.Tensor) -> str:
    value = element.item()
    return f"{value:.6g}"


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=TOLERANCES[torch.float32]) or (math.isnan(a) and math.isnan(b))
    return type(a) is type(b) and bool(a == b)
