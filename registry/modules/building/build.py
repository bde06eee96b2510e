"""Making a module of a class: without initial values where that gives what the plain way gives, or plainly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from registry.errors.models import ConstructorFailed, KeptConstruction
from registry.modules.building import process_state as generators
from registry.modules.building.constructor import note_tensors
from registry.modules.building.deferral import Aftermath, Deferral, Stopped, current, is_possible
from registry.modules.building.outside import drawn, outside
from registry.modules.building.shortcuts import deferring
from registry.modules.building.specification import Constructs
from registry.modules.layout import Layout, layout
from registry.tensors.memory import swap_contents


@dataclass
class Built:
    """A module fresh from its class. Built fast, its parameters have no values until the weights are installed."""

    spec: Constructs
    module: nn.Module
    fast: bool
    reason: str
    """Why it was built plainly; empty if it was built fast."""
    prepare: Callable[[nn.Module], None] = lambda module: None
    """What was done to the module since, such as sharding; done again if it has to be built again."""
    found: Layout | None = None
    """Of the module, where that was looked at already."""
    deferred: frozenset[int] = frozenset()
    """Ids of its tensors that have no values, or none that anything needs."""
    suspect: bool = False
    """Whether something outside of its state dict may come from random generators."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """Where the random generators stood before it was built plainly."""
    after: Mapping[str, Any] = field(default_factory=dict)
    """Where they stood then."""
    _random: tuple[str, ...] | None = None

    def keep_initial_values(self, reason: str) -> None:
        """Have initial values, because not all of them are going to be replaced: drawn as by a plain call.

        The random generators of the process move on as they do there.
        """
        if not self.fast:
            generators.restore(self.after)
            return
        with generators.defaults_preserved():
            self.module = self.spec.construct()
        note_tensors(self.module, layout(self.module))
        self.fast, self.reason, self.found, self.deferred = False, reason, None, frozenset()
        self.prepare(self.module)

    def to_meta(self) -> None:
        """Put the tensors that have no values on the meta device."""
        self.found = None
        for slot in layout(self.module).slots.values():
            if id(slot.tensor) in self.deferred and not slot.tensor.is_meta:
                swap_contents(slot.tensor, torch.empty_like(slot.tensor, device="meta", requires_grad=False))

    def random_outside(self) -> tuple[str, ...]:
        """Return what the module holds outside of its state dict that comes from random generators, by path.

        The class is built again where that may be, to tell what was drawn, or computed from initial weights that were.
        """
        if self.suspect and self._random is None:
            with generators.preserved():
                self._random = drawn(self.module, self.spec.construct, self.before)
        return self._random or ()


def build(spec: Constructs, *, fast: bool = True, reason: str = "it was to be built plainly") -> Built:
    """Make a module of a class, and leave no trace in the process's random generators and defaults.

    Built fast, parameters are without values, for `fit` to install weights, and everything else is what a plain build
    gives. Where that is not sure, the class is built plainly, from where the generators stood before.

    Args:
        fast: whether to use what was built fast.
        reason: what the report is to say if ``fast`` is false.

    Raises:
        ModelError: the class cannot be imported, refuses its arguments, raises, or is no model.
    """
    if (outer := current()) is not None:
        outer.stop("the constructor loads a version")
    with generators.preserved() as before:
        attempt = _attempt(spec, before)
        if fast and attempt.module is not None and attempt.found is not None:
            note_tensors(attempt.module, attempt.found)
            return Built(spec, attempt.module, True, "", found=attempt.found, deferred=attempt.deferred)
        generators.restore(before)
        before = {**generators.state(to_come=True), **before}
        module = _plainly(spec, attempt.deferral)
        note_tensors(module, layout(module))
        why = attempt.obstacle if fast else reason
        return Built(spec, module, False, why, suspect=attempt.suspect, before=before, after=generators.state())


@dataclass(frozen=True)
class _Attempt:
    """What became of constructing a module without values."""

    module: nn.Module | None = None
    found: Layout | None = None
    deferred: frozenset[int] = frozenset()
    obstacle: str = ""
    """Why it cannot be used."""
    suspect: bool = True
    """Whether something outside of the state dict may come from random generators."""
    deferral: Deferral | None = None


def _plainly(spec: Constructs, given_up: Deferral | None) -> nn.Module:
    """Construct a module, and refuse one in which there is something that an attempt left in a cache or a global."""
    if given_up is None or not given_up.spoil():
        return spec.construct()
    with Aftermath(given_up) as aftermath:
        module = spec.construct()
    tensors = [*(s.tensor for s in layout(module).slots.values()), *outside(module).values()]
    if aftermath.was_used or any(map(given_up.is_void, tensors)):
        raise KeptConstruction(spec.target)
    return module


def _attempt(spec: Constructs, before: Mapping[str, Any]) -> _Attempt:
    if not is_possible():
        return _Attempt(obstacle=f"torch {torch.__version__} cannot leave out the values of parameters")
    with deferring() as deferral:
        given_up = partial(_Attempt, deferral=deferral)
        try:
            module = spec.construct()
        except Stopped:
            return given_up(obstacle=deferral.obstacle)
        except ConstructorFailed as error:  # without values it may well; whether it does plainly is seen next
            cause = f"the constructor needs the values of its parameters ({type(error.__cause__).__name__})"
            return given_up(obstacle=deferral.obstacle or cause)
    if deferral.obstacle:  # and the constructor caught that
        return given_up(obstacle=deferral.obstacle)
    if not generators.stand_at(before):
        return given_up(obstacle="the constructor seeds or uses a random generator otherwise than for parameters")
    found = layout(module)
    tensors = list({id(slot.tensor): (name, slot.tensor) for name, slot in found.slots.items()}.values())
    if deferral.is_kept_elsewhere(tensor for _, tensor in tensors):
        return given_up(obstacle="a value computed from parameters, or drawn, is kept outside of the state dict")
    if obstacle := next(_obstacles(found), ""):
        return given_up(obstacle=obstacle, suspect=False)
    installable, obstacle = deferral.installable(tensors)
    if obstacle:
        return given_up(obstacle=obstacle, suspect=False)
    return _Attempt(module, found, frozenset(installable))


def _obstacles(found: Layout) -> Iterator[str]:
    """Yield what keeps a module from being completed by installing its state dict alone."""
    if found.custom:
        yield f"{found.custom} reads or writes its state dict in its own way"
    for kind in {type(part) for _, part in found.parts}:
        if kind.__module__.startswith("torch.jit"):
            yield f"{kind.__name__} is TorchScript"
    for name, slot in found.slots.items():
        tensor_type = type(slot.tensor)
        if tensor_type is not nn.Parameter and tensor_type is not torch.Tensor:
            yield f"'{name}' is lazy" if is_lazy(slot.tensor) else f"'{name}' is a {tensor_type.__name__}"
