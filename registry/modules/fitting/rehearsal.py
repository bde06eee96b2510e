"""What becomes of an entry that a class reads in its own way, tried out on the module and undone.

Hooks of a class, and a ``_load_from_state_dict`` of its own, rename what older files have, drop what it has no use for,
and give buffers the shape of the entry's. Whether ``load_state_dict(strict=True)`` takes an entry only the class knows,
and what it lets stand in the module it does not say. So it is asked twice: with the module as it is, and with every
bit of its tensors turned over. What is the same after both came from the entry or from the class, and not from before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from registry.canonical.expectation import Expectation
from registry.canonical.form import is_extra_state
from registry.errors.models import BrokenTie, DtypeMismatch, FitError, UntouchedTensor
from registry.modules.anatomy import method, state_dict
from registry.modules.fitting.assignment import convert
from registry.modules.fitting.expectation import own_state
from registry.modules.fitting.laziness import without_values
from registry.modules.fitting.own_loading import handed_over, has_values, is_of_torch, load_strictly, worded
from registry.modules.fitting.plan import Content, Plan, castable, is_real_float, reported
from registry.modules.fitting.report import LoadReport
from registry.modules.fitting.rollback import Snapshot
from registry.modules.layout import Layout, Slot, bare
from registry.ranks.shards import is_shard
from registry.tensors.memory import digest, dtype_name


@dataclass(frozen=True)
class Rehearsed:
    """What a class makes of an entry."""

    sources: Mapping[str, str]
    """Name of a tensor of the module to the name in the entry whose values it holds then."""
    made: Mapping[str, str]
    """Digest of each tensor of the module that holds other values, by name."""
    dropped: tuple[str, ...]
    """Names of the entry whose values no tensor of the module holds."""
    cast: Mapping[str, tuple[str, str]]
    """Of the sources: names whose tensor has another dtype than the entry's; (in the entry, in the module)."""
    defaulted: tuple[str, ...]
    """Counters that had to be handed over beside the entry."""

    @property
    def renamed(self) -> dict[str, str]:
        """Names of the entry that are others in the module, to these."""
        return {source: name for name, source in self.sources.items() if name != source}


def rehearse(
    module: nn.Module,
    found: Layout,
    weights: Mapping[str, torch.Tensor],
    values: Mapping[str, Any],
    metadata: Mapping[str, Mapping[str, Any]] | None,
    report: LoadReport,
    cast: torch.dtype | None = None,
) -> Rehearsed | None:
    """Return what the class makes of an entry; None if it takes it not, or something else may stand under a name.

    That is a value that a tensor had before, or one that is not the entry's of that name and shape.

    The module is bit for bit what it was.

    Args:
        report: what is left out, keeps its own values, or is a counter that old files lack.
        cast: dtype that every real floating-point tensor of the module is given first.

    Raises:
        UntouchedTensor: the class writes into what it is given.
    """
    if any(is_shard(slot.tensor) or slot.tensor.is_meta for slot in found.slots.values()):
        return None
    # Torch gives a counter that a file lacks the value that the module has. So does not what hooks rename to it.
    for defaulted in dict.fromkeys([(), report.defaulted]):
        plan = Plan({}, (), replace(report, defaulted=defaulted), as_it_is=True)
        rehearsal = _Rehearsal(module, found, plan, weights, values, metadata, cast)
        with torch.inference_mode(False), torch.no_grad():
            if (result := rehearsal.result()) is not None:
                return result
    return None


class _Rehearsal:
    def __init__(
        self,
        module: nn.Module,
        found: Layout,
        plan: Plan,
        weights: Mapping[str, torch.Tensor],
        values: Mapping[str, Any],
        metadata: Mapping[str, Mapping[str, Any]] | None,
        cast: torch.dtype | None,
    ) -> None:
        self._module, self._found, self._plan = module, found, plan
        self._weights, self._values, self._metadata, self._cast = weights, values, metadata, cast
        self._kept = {*plan.report.missing, *plan.report.reshaped, *plan.report.defaulted}
        self._before = Snapshot(module, found, thorough=True)

    def result(self) -> Rehearsed | None:
        try:
            loaded = self._loaded()
            if loaded is None:
                return None
            result = self._compared(loaded)
            if any(n in self._weights and loaded[n].shape == self._weights[n].shape for n in result.made):
                return None  # under the entry's own name something else would stand
            self._before.restore()
            _turn_over(slot for name, slot in self._found.slots.items() if name not in self._kept)
            loaded = self._loaded()
            return result if loaded is not None and self._is_confirmed(result, loaded) else None
        finally:
            self._before.restore()

    def _loaded(self) -> dict[str, torch.Tensor] | None:
        """Return the tensors of the module after the class loaded the entry, but for those that keep their values."""
        if self._cast is not None:
            convert(self._module, self._cast)
        try:
            handed = handed_over(self._module, self._plan, self._weights, self._values, self._metadata)
            load_strictly(self._module, handed, self._weights)
            state = own_state(self._module)
        except UntouchedTensor:
            raise
        except Exception:  # code of the class's own, which does not take it
            return None
        return {
            name: value
            for name, value in state.items()
            if isinstance(value, torch.Tensor) and name not in self._kept and not is_extra_state(name)
        }

    def _compared(self, loaded: Mapping[str, torch.Tensor]) -> Rehearsed:
        weights, left_out = self._weights, {*self._plan.report.unexpected, *self._plan.report.reshaped}
        sources = {n: n for n, tensor in loaded.items() if n in weights and _holds(tensor, weights[n])}
        spare = [name for name in weights if name not in sources and name not in left_out and not is_extra_state(name)]
        others = {name: tensor for name, tensor in loaded.items() if name not in sources}
        by_values: dict[str, list[str]] = {}
        for dtype in {tensor.dtype for tensor in others.values()}:
            for name in reversed(spare):
                had = weights[name].dtype
                if had == dtype or castable(dtype_name(had), dtype_name(dtype)):
                    by_values.setdefault(digest(weights[name].to(dtype)), []).append(name)
        made: dict[str, str] = {}
        for name, tensor in others.items():
            values = digest(tensor)
            if sharing := by_values.get(values):
                sources[name] = sharing.pop() if len(sharing) > 1 else sharing[0]
            else:
                made[name] = values
        used = set(sources.values())
        cast = {
            name: (dtype_name(weights[source].dtype), dtype_name(loaded[name].dtype))
            for name, source in sources.items()
            if weights[source].dtype != loaded[name].dtype
        }
        dropped = tuple(name for name in spare if name not in used)
        return Rehearsed(sources, made, dropped, cast, self._plan.report.defaulted)

    def _is_confirmed(self, result: Rehearsed, loaded: Mapping[str, torch.Tensor]) -> bool:
        return (
            loaded.keys() == result.sources.keys() | result.made.keys()
            and all(has_values(loaded[name], self._weights[source]) for name, source in result.sources.items())
            and all(digest(loaded[name]) == values for name, values in result.made.items())
        )


def plan_by_class(
    module: nn.Module,
    found: Layout,
    wanted: Expectation,
    content: Content,
    weights: Mapping[str, torch.Tensor],
    values: Mapping[str, Any],
    cast: torch.dtype | None,
    refusal: FitError,
) -> Plan:
    """Return the plan for an entry whose names and shapes do not fit, and which the class takes nevertheless.

    Args:
        content: of the entry, before anything was cast.
        refusal: why it does not fit, with what was found until then.

    Raises:
        FitError: the refusal, if the class takes it not; or it would cast unasked, or break a tie.
    """
    taken = rehearse(module, found, weights, values, content.metadata, refusal.report, cast)
    if taken is None:
        raise refusal
    extra_states = tuple(sorted(wanted.values & values.keys()))
    dtypes = {name: content.tensors[source].dtype for name, source in taken.sources.items()}
    to = dtype_name(cast) if cast is not None else ""
    report = replace(
        refusal.report,
        loaded=len(taken.sources) + len(taken.made) + len(extra_states),
        defaulted=taken.defaulted,
        cast={name: (dtype, to) for name, dtype in dtypes.items() if to and is_real_float(dtype) and dtype != to},
        renamed=taken.renamed,
        dropped=taken.dropped,
        made=tuple(taken.made),
    )
    if taken.cast:
        differences = [(name, got, want) for name, (got, want) in taken.cast.items()]
        are_castable = all(castable(*pair) for pair in taken.cast.values())
        raise reported(DtypeMismatch(report.model, differences, are_castable), report)
    for tie in wanted.ties:
        if 0 < len(apart := [name for name in tie if name in taken.made]) < len(tie):
            raise reported(BrokenTie(report.model, [*apart, *(n for n in tie if n not in apart)]), report)
    return Plan(taken.sources, extra_states, report, as_it_is=True, made=taken.made)


def own_refusal(module: nn.Module) -> str:
    """Return what a class says against the state dict that it gives itself; nothing if it takes it or was not asked.

    It is asked of a copy without values, so that nothing is computed and no memory is needed.
    """
    try:
        copied = without_values(bare(module))
        method(copied, "load_state_dict")(state_dict(copied), strict=True)
    except Exception as error:  # it may be that it cannot be copied, or that its code needs the values
        return worded(error) if is_of_torch(error) else ""
    return ""


def _holds(tensor: torch.Tensor, values: torch.Tensor) -> bool:
    return tensor.shape == values.shape and has_values(tensor, values)


def _turn_over(slots: Iterable[Slot]) -> None:
    """Turn every bit of these tensors over; those that share memory, once."""
    tensors = [slot.tensor for slot in slots if not is_lazy(slot.tensor) and slot.tensor.layout is torch.strided]
    for tensor, turned in [(tensor, _turned_over(tensor)) for tensor in tensors]:
        tensor.copy_(turned)


def _turned_over(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dtype is torch.bool:
        return tensor.logical_not()
    bits = tensor.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format).reshape(-1)
    bits.view(torch.uint8).bitwise_not_()
    return bits.reshape(tensor.shape)
