"""Errors of the training state."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.canonical import some
from registry.errors.root import RegistryError


class UnprovedOrder(RegistryError):
    """The parameter order of a positional optimizer state cannot be proved."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the optimizer state cannot be matched to the parameters: {why}")


class OptimizerMismatch(RegistryError):
    """The stored optimizer state is of another model or another grouping."""

    def __init__(self, missing: Sequence[str], extra: Sequence[str], why: str = "") -> None:
        parts = [why] if why else []
        if missing:
            parts.append(f"it has no state for {some(missing)}")
        if extra:
            parts.append(f"it has state for {some(extra)}, which this optimizer does not hold")
        super().__init__(
            f"the stored optimizer state does not fit this optimizer: {', and '.join(parts)}; "
            "make the optimizer over the parameters of the same model in the same groups"
        )


class ForeignParameters(RegistryError):
    """An optimizer holds parameters that are not the model's."""

    def __init__(self, model: str, count: int) -> None:
        super().__init__(
            f"the optimizer holds {count} parameters that are not among those of {model}; give the optimizer of this "
            "model, made after it was wrapped or sharded"
        )


class NoTrainingState(RegistryError):
    """A version has no training state, or not that part of it."""

    def __init__(self, ref: str, part: str) -> None:
        super().__init__(
            f"{ref} was pushed without the state of the {part}, so it cannot be resumed; leave the {part} out, or push "
            f"with registry.push(model, ..., {part}={part})"
        )


class NoTrainerState(RegistryError):
    """A version does not say where a trainer stood."""

    def __init__(self, ref: str, lacks: str, callback: str) -> None:
        super().__init__(
            f"{ref} was pushed without {lacks}, so that a trainer cannot go on from it; push with {callback}, and its "
            "training state"
        )


class UnknownState(RegistryError):
    """A version keeps no state under a name."""

    def __init__(self, ref: str, name: str, known: Sequence[str]) -> None:
        has = f"it keeps {some(known)}" if known else f"push it with registry.push(model, ..., state={{'{name}': ...}})"
        super().__init__(f"{ref} was pushed without the state of '{name}', so that cannot be resumed; {has}")


class InvalidStateName(RegistryError, ValueError):
    """A name for a state of the user's is not one."""

    def __init__(self, name: str, is_ours: bool) -> None:
        super().__init__(
            f"'{name}' has an argument of its own: {name}=...; give it there"
            if is_ours
            else f"'{name}' cannot be the name of a state: 1 to 64 ASCII letters, digits or _.- that begin with none "
            "of .-; 'loader' would do"
        )


class StateRefused(RegistryError):
    """An optimizer, scheduler or scaler does not take the stored state."""

    def __init__(self, ref: str, why: str) -> None:
        super().__init__(
            f"the training state of {ref} was refused: {why}; make the optimizer, scheduler and scaler as in the job "
            "that was stored"
        )


class JobNeedsModel(RegistryError):
    """An optimizer or the like was given with something other than a live model."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the training state of '{name}' can only be keyed by parameter name with the live model at hand; push the "
            "model itself with its optimizer, or a checkpoint file that holds both"
        )


class OfAnotherProcess(RegistryError):
    """A push in the background is waited for in a process that was forked from the one that pushes."""

    def __init__(self, name: str, process: int) -> None:
        super().__init__(
            f"the push of '{name}' in the background is the work of process {process}, which this one was forked from; "
            "call wait() there"
        )
