"""What reading a checkpoint gives: inert descriptions, whatever format the file has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from registry.canonical.form import is_extra_state
from registry.canonical.owned import Met
from registry.checkpoints.documents import Documents
from registry.checkpoints.mapping import OpenedFile
from registry.errors.root import RegistryError
from registry.tensors.foreign import TENSOR
from registry.tensors.source import TensorSource


@dataclass(frozen=True)
class WeightSet:
    """One state dict inside a checkpoint, or a part of one that is a model by itself."""

    key: str
    """Where it was found: ``""`` for the file itself, ``"state_dict"``, ``"model/state_dict"``."""
    tensors: Mapping[str, TensorSource]
    """By the names in the file, in their order."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Entries that are no tensors (``_extra_state``, numbers), as inert Python values."""
    metadata: Mapping[str, Mapping[str, Any]] | None = None
    """The state dict's ``_metadata`` (module path to ``{"version": ...}``), where the file has it."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names that the writer dropped because they were tied (dropped name to kept name), where it said so."""
    fault: RegistryError | None = None
    """Why it cannot be stored, if it cannot."""
    unstored: int = 0
    """Tensors in it that cannot."""
    are_arrays: bool = False
    """Whether they are arrays of numpy beside tensors."""
    inside: str | None = None
    """Of an average in a state dict, and of the model that it is of: where that state dict stands."""
    wrappers: tuple[Met, ...] | None = None
    """The wrappers in it, where the types of its objects are known: of a pickled module."""
    unasked: RegistryError | None = None
    """Why it is not stored unless it is asked for by name."""
    own: WeightSet | None = None
    """Without the averages that stand among its names, where it has some."""
    note: str = ""
    """Sentence for the user, if this set is stored."""
    parts: Mapping[str, WeightSet] = field(default_factory=dict)
    """The sets that it is made of, where several are the parts of one version, by the part's name."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names that modules gave: of the tensors and of extra states."""
        return (*self.tensors, *(name for name in self.values if is_extra_state(name)))

    @property
    def count(self) -> int:
        """The number of its tensors."""
        return len(self.tensors) + self.unstored

    def with_whole_extra_states(self) -> WeightSet:
        """Return it with those extra states among the values that are tensors and more than a dtype, a shape and bits.

        One that needs a gradient, or is a parameter, goes back into an object that may ask for it.
        """
        whole = {name: source for name, source in self.tensors.items() if _is_more_than_bits(name, source)}
        if not whole:
            return self
        tensors = {name: source for name, source in self.tensors.items() if name not in whole}
        return replace(self, tensors=tensors, values={**self.values, **whole})


def _is_more_than_bits(name: str, source: TensorSource) -> bool:
    if not is_extra_state(name):
        return False
    return getattr(source, "requires_grad", False) or getattr(source, "kind", TENSOR) != TENSOR


@dataclass(frozen=True)
class Checkpoint:
    """A file, a folder or a live object, opened and understood but not yet judged."""

    source: str
    """How to name it to the user: a path, or ``"a live PointNet"``."""
    path: Path | None
    format: str
    """``torch-zip``, ``torch-legacy``, ``torch-sharded``, ``safetensors``, ``safetensors-sharded``, ``dcp``, ..."""
    weight_sets: tuple[WeightSet, ...]
    """Every set of weights found, the likeliest first; never empty."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """What else the file holds (optimizer, epoch, ...), as inert values whose tensors are ``TensorSource``."""
    init: Mapping[str, Any] = field(default_factory=dict)
    """Init arguments that the file offers (Lightning's ``hyper_parameters``, ``model_args``)."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the file says of its making: ``world_size``, ``epoch``, ``framework``."""
    contents: Any = None
    """All that the file holds, as inert values: the weights, the training state and everything else."""
    live_wrappers: tuple[Met, ...] = ()
    """For a live module: the wrappers in it, outermost first, known from the types of the objects."""
    beside: Mapping[str, Any] = field(default_factory=dict)
    """What the other files of its folder hold, by their path in it."""
    documents: Documents = field(default_factory=Documents)
    """Of a folder: the plain files beside its weights."""
    files: tuple[OpenedFile, ...] = ()
    """What its tensors are read from; where ``path`` is a file, that is the first."""
    notes: tuple[str, ...] = ()
    """Sentences for the user: partial overlaps stored by value, objects that were not read."""
