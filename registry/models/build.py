"""Making a module of a class: fast, without initial values where that is proven right, or plainly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from registry.errors.models import ConstructorFailed
from registry.models import generators
from registry.models.fingerprint import Unprovable, fingerprint
from registry.models.skipping import Watch, can_skip, ordinary_initialisation, skipped_initialisation
from registry.models.slots import layout
from registry.models.specification import ModelSpec

_SEED = 0x5EED


@dataclass
class Built:
    """A module fresh from its class. Built fast, its parameters are on meta until the weights are installed."""

    spec: ModelSpec
    module: nn.Module
    fast: bool
    reason: str
    """Why it was built plainly; empty if it was built fast."""
    prepare: Callable[[nn.Module], None] = lambda module: None
    """What was done to the module since, such as sharding; done again if it has to be built again."""

    def rebuild_plainly(self, reason: str) -> None:
        """Build the module again, with initial values, because not all of them are going to be replaced."""
        with generators.preserved():
            self.module = _build_plainly(self.spec)
        self.fast, self.reason = False, reason
        self.prepare(self.module)


@dataclass(frozen=True)
class Probe:
    """Whether a class can be built fast, found out once, when a version of it is pushed."""

    fast_is_safe: bool
    reason: str
    """Why not; empty if it is."""
    digest: str
    """Of everything in the module that is not in its state dict; empty where the fast way is not safe."""
    module: nn.Module
    """What was built, to ask for its names and shapes; its parameters are on meta where the fast way is safe."""


def build(spec: ModelSpec, *, fast: bool = True, reason: str = "the class was not proven to allow more") -> Built:
    """Make a module of a class, and leave no trace in the process's random generators and defaults.

    Args:
        fast: leave the parameters without values, on meta, for `fit` to install weights. Give what `probe` found:
            without it, a module that draws random numbers for what is not in its state dict draws others.
        reason: what the report is to say if ``fast`` is false.

    Raises:
        ModelError: the class cannot be imported, refuses its arguments, raises, or is no model.
    """
    with generators.preserved():
        if fast:
            module, watch = _build_fast(spec)
            if module is not None:
                return Built(spec, module, True, "")
            reason = watch.obstacle
        return Built(spec, _build_plainly(spec), False, reason)


def probe(spec: ModelSpec) -> Probe:
    """Find out whether building the class fast gives what building it plainly does, bit for bit.

    A constructor that drew no random number while initialisation was skipped, and could not notice that its parameters
    have no values, made everything else exactly as ever. Otherwise it is built plainly as well, from the same seed,
    and all that is not in the state dict is compared.

    Raises:
        ModelError: the class cannot be imported, refuses its arguments, raises, or is no model.
    """
    with generators.preserved():
        generators.seed(_SEED)
        before = generators.fingerprint(generators.state())
        module, watch = _build_fast(spec)
        drew = generators.fingerprint(generators.state()) != before
        if module is None:
            return _probe_plainly(spec, watch.obstacle)
        try:
            found = fingerprint(module)
        except Unprovable as obstacle:
            return _probe_plainly(spec, str(obstacle))
        if drew or watch.noticed:
            why = watch.noticed or "the constructor draws random numbers"
            return _compared(spec, module, found, why)
        return Probe(True, "", found.digest, module)


def _compared(spec: ModelSpec, module: nn.Module, found: Any, why: str) -> Probe:
    generators.seed(_SEED)
    plain = _build_plainly(spec)
    try:
        wanted = fingerprint(plain)
    except Unprovable as obstacle:
        return Probe(False, str(obstacle), "", plain)
    if difference := wanted.first_difference(found):
        return Probe(False, f"{why}, and {difference} differs when initialisation is skipped", "", plain)
    return Probe(True, "", found.digest, module)


def _probe_plainly(spec: ModelSpec, reason: str) -> Probe:
    return Probe(False, reason, "", _build_plainly(spec))


def _build_plainly(spec: ModelSpec) -> nn.Module:
    with ordinary_initialisation():
        return spec.construct()


def _build_fast(spec: ModelSpec) -> tuple[nn.Module | None, Watch]:
    """Return the module on meta, or None and what stood in the way."""
    if not can_skip():
        watch = Watch()
        watch.obstacle = f"torch {torch.__version__} cannot exchange the contents of a parameter"
        return None, watch
    with skipped_initialisation() as watch:
        try:
            module = spec.construct()
        except ConstructorFailed as error:  # on meta it may well; whether it does plainly is seen next
            watch.obstacle = f"the constructor needs the values of its parameters ({_cause(error)})"
            return None, watch
    watch.obstacle = watch.obstacle or next(_obstacles(module), "")
    return (None if watch.obstacle else module), watch


def _obstacles(module: nn.Module) -> Iterator[str]:
    """Yield what keeps a module from being completed by installing its state dict alone."""
    found = layout(module)
    if found.custom:
        yield f"{found.custom} reads or writes its state dict in its own way"
    covered = {id(slot.tensor) for slot in found.slots.values()}
    for prefix, part in found.parts:
        if type(part).__module__.startswith("torch.jit"):
            yield f"'{prefix.removesuffix('.')}' is TorchScript"
        state = part.__dict__
        for name, value in (*state["_buffers"].items(), *state.items()):
            if isinstance(value, torch.Tensor):
                if is_lazy(value):
                    yield f"'{name}' of {type(part).__name__} is lazy"
                elif value.is_meta and id(value) not in covered:
                    yield f"'{name}' of {type(part).__name__} is computed from parameters and not in the state dict"


def _cause(error: BaseException) -> str:
    return type(error.__cause__).__name__
