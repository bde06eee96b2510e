"""What torch's operators do with the values of their arguments, read from their schemas."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_UNDECLARED_WRITES = ("batch_norm",)
"""Parts of the names of operators that write to arguments, running statistics, which their schemas do not mark."""

_FACTORIES = ("empty", "zeros", "ones", "full")


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that sees every operation of this thread, and answers it."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()  # type: ignore[no-untyped-call]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler at the first operation, 822 modules in half a second

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return self.seen(func, args, kwargs or {})

    @abstractmethod
    def seen(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return what an operation returns."""


class Operator(NamedTuple):
    """One operator, such as ``aten.uniform_.default``."""

    draws: bool
    """Takes numbers from a random generator."""
    is_plain: bool
    """Neither draws nor needs the values of its tensors, as a view and ``zeros_like`` do not: the same without."""
    writes: tuple[tuple[int, str], ...]
    """Position and name of each argument that it writes to."""
    returns_what_it_writes: bool
    """Returns those arguments, in their order, and nothing else."""
    returns_nothing: bool
    is_factory: bool
    """Makes one dense tensor out of numbers, as ``empty`` does."""
    creates: bool
    """Returns new tensors, not views of what was there before."""
    has_device: bool
    """Takes the device to put its result on."""
    is_declared: bool
    """Whether the schema marks all arguments that it writes to."""


def operator(function: Any) -> Operator:
    """Return what the schema of an operator says about it."""
    known = _known.get(id(function))
    if known is None:
        known = _known[id(function)] = _read(function)
        _alive.append(function)
    return known


_known: dict[int, Operator] = {}
"""By id: what torch computes to hash an operator costs more than everything else here."""
_alive: list[Any] = []


def _read(function: Any) -> Operator:
    schema = function._schema
    arguments, returns = schema.arguments, schema.returns
    written = [(i, a) for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write]
    returns_written = len(returns) == len(written) and all(
        r.alias_info is not None and r.alias_info.is_write for r in returns
    )
    is_view = not written and any(r.alias_info is not None for r in returns)
    moves_only = torch.Tag.inplace_view in function.tags  # t_, resize_, set_: other metadata, the same values
    draws = torch.Tag.nondeterministic_seeded in function.tags or any("Generator" in str(a.type) for a in arguments)
    name = schema.name.rpartition("::")[2]
    takes_only_form = not written and (name.startswith("new_") or name.endswith("_like")) and not draws
    takes_tensors = any("Tensor" in str(a.type) for a in arguments)
    reads = takes_tensors and not (is_view or moves_only or takes_only_form)
    return Operator(
        draws=draws,
        is_plain=not draws and not reads,
        writes=tuple((i, a.name) for i, a in written),
        returns_what_it_writes=returns_written,
        returns_nothing=not returns,
        is_factory=name in _FACTORIES,
        creates=(bool(returns) and all(r.alias_info is None for r in returns)) or name == "lift_fresh",
        has_device=any(a.name == "device" for a in arguments),
        is_declared=not any(part in name for part in _UNDECLARED_WRITES),
    )
