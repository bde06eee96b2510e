"""Whether a version still computes what it did when it was pushed, and what changed around it since."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from blake3 import blake3
from torch import nn

from registry.attachments.attachment import Attachment, StoredAttachment
from registry.attachments.examples.example import Example, as_example
from registry.attachments.examples.run import Deviation, Output, Outputs, compare, device_of, run
from registry.canonical.form import is_extra_state
from registry.errors.outputs import ExampleNeedsClass, OutputsDiffer
from registry.errors.root import few
from registry.inspection import Inspection
from registry.modules.anatomy import parts
from registry.modules.building.build import build
from registry.modules.fitting.fit import fit
from registry.modules.layout import bare
from registry.modules.live import LiveTensor
from registry.notebook import called
from registry.tensors.memory import tensor_of
from registry.tensors.spec import TensorSpec

INPUTS, OUTPUTS = "inputs/", "outputs/"
"""What the names of an example's tensors begin with in the store."""


@dataclass(frozen=True)
class Circumstances:
    """What else decides about the outputs of a model with given weights."""

    torch: str
    device: str
    """Its type: ``"cpu"``, ``"cuda"``."""
    sources: Mapping[str, str]
    """Digest of the source text of every class in the model but torch's own, by ``"module.Class"``."""


@dataclass(frozen=True)
class Replay:
    """An example that was run again."""

    ref: str
    deviation: Deviation | None
    """None if the outputs agree."""
    then: Circumstances
    now: Circumstances

    def __repr__(self) -> str:
        what = "the outputs are as they were" if self.agrees else str(self.deviation)
        return called(self, f"{self.ref}:", what)

    @property
    def agrees(self) -> bool:
        return self.deviation is None

    @property
    def changed_sources(self) -> tuple[str, ...]:
        """Classes whose source is not what it was, came or went since the push."""
        names = sorted({*self.then.sources, *self.now.sources})
        return tuple(name for name in names if self.then.sources.get(name) != self.now.sources.get(name))

    def circumstances(self) -> list[str]:
        """Return clauses that say what the example was made with, and what of that changed."""
        clauses = [
            f"the example was made with torch {self.then.torch}"
            + (", as now" if self.now.torch == self.then.torch else f" and now runs with torch {self.now.torch}")
        ]
        if self.now.device != self.then.device:
            clauses.append(f"it was made on {self.then.device} and now runs on {self.now.device}")
        changed = [f"{name} ({self.then.sources.get(name, 'none')[:8]} then)" for name in self.changed_sources]
        if changed:
            clauses.append(f"the source has changed since of {few(changed, 3)}")
        else:
            digest = blake3(repr(sorted(self.then.sources.items())).encode()).hexdigest()[:8]
            clauses.append(f"the source of its classes ({digest}) is as it was")
        return clauses

    def require(self) -> None:
        """Raise unless the outputs agree.

        Raises:
            OutputsDiffer: saying where most, and what changed since.
        """
        if self.deviation is not None:
            raise OutputsDiffer(self.ref, str(self.deviation), self.circumstances())


def attach_example(source: object, inspection: Inspection | None, inputs: object) -> Attachment:
    """Run what is pushed on an example, and return inputs and outputs as they are stored.

    A live module is run as it is, inside its wrappers. A file's weights are put into its class, built plainly: what
    later loads build faster is then compared with what it should be.

    Args:
        inspection: of a file; of a live module it is not asked.

    Raises:
        ExampleNeedsClass: the checkpoint is no module and no class is known.
        RegistryError: of ``outputs`` and ``models``.
    """
    example = as_example(inputs)
    if isinstance(source, nn.Module):
        model = bare(source)
    else:
        assert inspection is not None
        model = _built(inspection)
    outputs = run(model, example)
    tensors = {f"{INPUTS}{name}": tensor for name, tensor in example.named().items()}
    tensors.update({f"{OUTPUTS}{path}": output.values for path, output in outputs.tensors.items()})
    now = circumstances(model)
    return Attachment(
        {name: LiveTensor("the example", name, tensor) for name, tensor in tensors.items()},
        {
            "torch": now.torch,
            "device": now.device,
            "sources": dict(now.sources),
            "outputs": {
                path: {"dtype": output.spec.dtype, "shape": output.spec.shape, "tolerance": output.tolerance}
                for path, output in outputs.tensors.items()
            },
            "plain": dict(outputs.plain),
        },
    )


def replay(ref: str, attached: StoredAttachment, model: nn.Module, *, cast: torch.dtype | None = None) -> Replay:
    """Run a version's example on a model that holds its weights.

    Args:
        attached: the version's document ``"example"``.
        cast: the dtype that the model was cast to.

    Raises:
        ExampleFailed, OutputsVary, NothingToCompare: the model does something else than it did.
    """
    model = bare(model)
    values = attached.values
    expected = Outputs(
        {
            path: Output(
                TensorSpec(of["dtype"], tuple(of["shape"])), attached.tensors[f"{OUTPUTS}{path}"], of["tolerance"]
            )
            for path, of in values["outputs"].items()
        },
        values["plain"],
    )
    found = run(model, _example(attached), dtype=cast)
    then = Circumstances(values["torch"], values["device"], values["sources"])
    return Replay(ref, compare(expected, found, cast=cast is not None), then, circumstances(model))


def circumstances(model: nn.Module) -> Circumstances:
    """Return what a model runs in now."""
    classes = {cls for _, module in parts(model) for cls in type(module).__mro__}
    own = [cls for cls in classes if cls.__module__.partition(".")[0] not in ("torch", "builtins", "typing")]
    named = sorted((f"{cls.__module__}.{cls.__qualname__}", cls) for cls in own)
    return Circumstances(
        torch.__version__, device_of(model).type, {name: digest for name, cls in named if (digest := _digest(cls))}
    )


def _digest(cls: type) -> str:
    try:
        return blake3(inspect.getsource(cls).encode()).hexdigest()
    except (OSError, TypeError):  # typed at a prompt, or compiled: there is no source to compare
        return ""


def _example(attached: StoredAttachment) -> Example:
    inputs = {name[len(INPUTS) :]: t for name, t in attached.tensors.items() if name.startswith(INPUTS)}
    positions = sorted((name for name in inputs if name.isdecimal()), key=int)
    keywords = {name: tensor for name, tensor in inputs.items() if not name.isdecimal()}
    return Example(tuple(inputs[name] for name in positions), keywords)


def _built(inspection: Inspection) -> nn.Module:
    if inspection.spec is None:
        raise ExampleNeedsClass(inspection.checkpoint.source)
    built = build(inspection.spec, fast=False, reason="an example is run on what the class makes by itself")
    form, weights = inspection.form, inspection.weights
    fit(
        built,
        {name: tensor_of(source) for name, source in inspection.tensors.items()},
        ties=inspection.ties,
        values={
            form.values[name]: value for name, value in weights.values.items() if is_extra_state(form.values[name])
        },
        metadata=form.metadata,
    )
    return built.module
