"""Errors of building a class, of putting weights into a module, and of doing so on many ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from registry.errors.canonical import patterns, some
from registry.errors.root import RegistryError

if TYPE_CHECKING:
    from registry.modules.fitting.report import LoadReport


class ModelError(RegistryError):
    """A class cannot be imported or built."""


class BadTarget(ModelError):
    """The text that should name a class does not have the form of one."""

    def __init__(self, target: str) -> None:
        near = _meant(target)
        remedy = (
            f"did you mean {near}?" if near else "write it as package.module:Class, such as models.pointnet:PointNet"
        )
        super().__init__(f"'{target}' is not the name of a class; {remedy}")


class ModuleNotImportable(ModelError):
    """The Python module that should hold the class cannot be imported."""

    def __init__(self, target: str, module: str, reason: str, remedy: str) -> None:
        remedy = f"write {_meant(target)}" if module.endswith(".py") else remedy
        super().__init__(f"cannot import '{module}' for {target}: {reason}; {remedy}")
        self.module = module


class NoSuchClass(ModelError):
    """The Python module is there and has no such name."""

    def __init__(self, target: str, module: str, name: str, near: Sequence[str]) -> None:
        remedy = f"did you mean {' or '.join(near)}?" if near else "check the name"
        super().__init__(f"the module '{module}' has no '{name}', which {target} asks for; {remedy}")


class NotAModelClass(ModelError):
    """The name leads to something that cannot make a model."""

    def __init__(self, target: str, found: str) -> None:
        super().__init__(
            f"{target} is {found}; name a class that derives from torch.nn.Module, or a plain function that returns "
            "a model"
        )


class NeitherModelNorClass(ModelError):
    """A load was given something that is neither an instance nor a class nor the name of one."""

    def __init__(self, given: str) -> None:
        super().__init__(
            f"model= is {given}; give an instance such as Net(...), a class that derives from torch.nn.Module, or its "
            "name, such as 'mymodels:Net'"
        )


class UnknownInitStyle(ModelError):
    """There is no such way to hand over constructor arguments."""

    def __init__(self, given: object, known: Sequence[str]) -> None:
        super().__init__(f"{given!r} is not a way to pass constructor arguments; give one of {', '.join(known)}")


class InitUnknown(ModelError):
    """A version was pushed from a live model, and with which arguments that was constructed nobody said."""

    def __init__(self, target: str, ref: str = "this version") -> None:
        super().__init__(
            f"{ref} was pushed from a live {target} without its constructor arguments, so it cannot be built; give "
            "them with init={...} (--init; init={} if there were none) or an instance with model=, and store them with "
            "registry.remember(model, ...) or push(..., init={...}) next time"
        )


class InitRefused(ModelError):
    """The constructor does not take these arguments."""

    def __init__(
        self,
        target: str,
        reason: str,
        takes: Sequence[str],
        namespace_helps: bool,
        near: Mapping[str, str] | None = None,
    ) -> None:
        accepted = f"it takes ({', '.join(takes)})" if takes else "it takes no arguments"
        remedy = (
            "if it wants all of them in one object, as Model(args) does, say --init-as namespace (init_as='namespace', "
            "registry.remember(model, args))"
            if namespace_helps
            else f"did you mean {' and '.join(near.values())}?"
            if near
            else "change the constructor arguments (--init, init=), or load into a module of your own (model=Net(...))"
        )
        super().__init__(f"{target} does not fit its constructor arguments: {reason}; {accepted}; {remedy}")
        self.takes = tuple(takes)


class ConstructorFailed(ModelError):
    """The constructor was called and raised."""

    def __init__(self, target: str, kind: str, message: str, hint: str = "") -> None:
        said = f"{kind}: {message}" if message else kind
        super().__init__(
            f"{target} cannot be built: its constructor raised {said}; {hint or 'check the constructor arguments'}"
        )


class KeptConstruction(ModelError):
    """The constructor keeps tensors where a later call of it finds them, and was stopped while it made them."""

    def __init__(self, target: str) -> None:
        super().__init__(
            f"{target} uses tensors that an earlier construction left in a cache or a global, and these have no "
            "values; construct the model yourself in a new process and give it: load(ref, model=...)"
        )


class NotAModel(ModelError):
    """The callable was called and returned something else."""

    def __init__(self, target: str, returned: str) -> None:
        super().__init__(f"{target} returned {returned} where a torch.nn.Module was expected; name the model's class")


class FitError(RegistryError):
    """The weights do not fit the module, which was left as it was."""

    report: LoadReport
    """What had been found until then."""


class MissingTensors(FitError):
    """The module has names that the entry does not."""

    def __init__(self, model: str, names: Sequence[str]) -> None:
        super().__init__(
            f"the entry lacks {_count(names)} of {model}: {some(names)}; load into the class that it was saved from, "
            f"or name what may keep its initial value with allow_missing={patterns(names)} (--allow-missing)"
        )
        self.names = tuple(names)


class UnexpectedTensors(FitError):
    """The entry has names that the module does not."""

    def __init__(self, model: str, names: Sequence[str]) -> None:
        super().__init__(
            f"the entry has {_count(names)} that {model} does not know: {some(names)}; load into the class that it "
            f"was saved from, or name what may be left out with allow_unexpected={patterns(names)}"
        )
        self.names = tuple(names)


class ShapeMismatch(FitError):
    """A tensor of the entry has another shape than in the module."""

    def __init__(self, model: str, differences: Sequence[tuple[str, Sequence[int], Sequence[int]]]) -> None:
        name, got, want = differences[0]
        names = tuple(name for name, _, _ in differences)
        more = f", and {len(differences) - 1} more differ" if len(differences) > 1 else ""
        super().__init__(
            f"'{name}' has shape {tuple(got)} in the entry and {tuple(want)} in {model}{more}; check the "
            "constructor arguments, nothing is broadcast or cut to size; or name what may keep its initial value with "
            f"allow_shape={patterns(names)} (--allow-shape)"
        )
        self.names = names


class DtypeMismatch(FitError):
    """A tensor of the entry has another dtype than in the module."""

    def __init__(self, model: str, differences: Sequence[tuple[str, str, str]], castable: bool) -> None:
        name, got, want = differences[0]
        more = f", and {len(differences) - 1} more differ" if len(differences) > 1 else ""
        remedy = (
            f"cast=torch.{got} keeps the entry's dtype and cast=torch.{want} converts it"
            if castable
            else "no cast is made between these kinds; load into the class that it was saved from"
        )
        super().__init__(f"'{name}' is {got} in the entry and {want} in {model}{more}; {remedy}")
        self.names = tuple(name for name, _, _ in differences)


class CastNotFloating(FitError):
    """``cast=`` was given a dtype that holds no real floating-point numbers."""

    def __init__(self, dtype: str) -> None:
        super().__init__(
            f"cast={dtype} is not a floating-point dtype; give one such as torch.float32 or torch.bfloat16"
        )


class CastOverflows(FitError):
    """A finite value of the entry is not finite in the dtype asked for."""

    def __init__(self, names: Sequence[str], dtype: str) -> None:
        super().__init__(
            f"{_count(names)} cannot be cast to {dtype} without overflow: {some(names)}; values that are finite in "
            "the entry would become infinite or NaN, so cast to a dtype with a wider range, such as torch.bfloat16"
        )
        self.names = tuple(names)


class BrokenTie(FitError):
    """The module holds names as one tensor that differ in the entry."""

    def __init__(self, model: str, names: Sequence[str]) -> None:
        super().__init__(
            f"{model} ties {some(names)}, which share one tensor there, but in the entry they differ; "
            "build the class without the tie"
        )
        self.names = tuple(names)


class UntouchedTensor(FitError):
    """A tensor of the module does not hold what the entry has for it."""

    def __init__(self, model: str, names: Sequence[str], reason: str) -> None:
        super().__init__(
            f"{_count(names)} of {model} would not hold the values of the entry: {some(names)} {reason}; "
            "load without model=, or into a plain instance of its class"
        )
        self.names = tuple(names)


class RandomOutside(FitError):
    """The module holds values that no entry can give it, and that are others every time it is constructed."""

    def __init__(self, model: str, names: Sequence[str]) -> None:
        count = "1 value" if len(names) == 1 else f"{len(names)} values"
        super().__init__(
            f"{model} draws {count} outside of its state dict, or computes them from random initial weights: "
            f"{some(names)}; no version holds them, so register them as buffers or modules, or name what may be random "
            f"with allow_missing={patterns(names)} (--allow-missing)"
        )
        self.names = tuple(names)


class MetaOutside(FitError):
    """The module was made on the meta device, and no entry has values for all of it."""

    def __init__(self, model: str, names: Sequence[str]) -> None:
        super().__init__(
            f"{_count(names)} of {model} would have no values, being on the meta device and not in its state dict: "
            f"{some(names)}; construct the module on the CPU, or load without model="
        )
        self.names = tuple(names)


class ExtraStateRefused(FitError):
    """``set_extra_state`` raised."""

    def __init__(self, model: str, name: str, kind: str, message: str) -> None:
        super().__init__(
            f"{model} refused '{name}' of the entry: set_extra_state raised {kind}{f': {message}' if message else ''}; "
            f"load into the class that it was saved from, or leave it out with allow_missing=['{name}'] and "
            f"allow_unexpected=['{name}']"
        )
        self.names = (name,)


class LoadHookFailed(FitError):
    """The class's own way of loading a state dict raised."""

    def __init__(self, model: str, kind: str, message: str) -> None:
        super().__init__(
            f"{model} loads its state dict in its own way, and that raised {kind}{f': {message}' if message else ''}; "
            "load into the version of the class that it was saved from"
        )


class ParallelError(RegistryError):
    """Something about the ranks of a job."""


class NoProcessGroup(ParallelError):
    """A load that needs all ranks was asked for outside of a process group."""

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"{asked} needs a process group and none is initialized; start with torchrun, and on every rank call "
            "torch.distributed.init_process_group() first"
        )


class WrongRank(ParallelError):
    """The rank given is not the rank that the process group knows."""

    def __init__(self, given: int, actual: int) -> None:
        super().__init__(
            f"rank={given} was given, but this process is rank {actual} of its process group; "
            "leave rank out, the process group knows it"
        )


class OtherRankFailed(ParallelError):
    """Another rank of the job raised, so this one stops too."""

    def __init__(self, doing: str, failures: Sequence[tuple[int, str]]) -> None:
        rank, message = failures[0]
        more = f" (and {len(failures) - 1} more ranks)" if len(failures) > 1 else ""
        super().__init__(f"{doing} stopped on every rank because rank {rank} failed{more}: {message}")
        self.ranks = tuple(rank for rank, _ in failures)


class RankUnreachable(ParallelError):
    """A rank did not answer within the time limit, or died."""

    def __init__(self, doing: str, seconds: float, reason: str) -> None:
        super().__init__(
            f"{doing} was given up: not every rank answered within {seconds:g} s ({reason}); "
            "call it on every rank of the process group, and look at what the silent ranks printed"
        )


class CannotWrap(ParallelError):
    """DistributedDataParallel refuses the model."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"{model} cannot be loaded with ddp=True: {reason}; load it without, for one device")


class CannotShard(ParallelError):
    """The model cannot be given out in shards."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"{model} cannot be loaded with fsdp=True: {reason}; load it with ddp=True")


class UnusableDevice(ModelError):
    """A device that torch does not know, or has not here."""

    def __init__(self, device: str, reason: str) -> None:
        why = "" if reason.startswith("Expected one of") else f" ({reason})"  # a list of all that torch ever had
        others = "'cpu'" if device.startswith("cuda") else "'cpu', 'cuda' or 'cuda:0'"
        super().__init__(f"'{device}' is not a valid device here{why}; give for example {others}")


class FlattenedParameters(ModelError):
    """Weights were to go into a module whose parameters FSDP1 has flattened."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"{model} is wrapped by FullyShardedDataParallel, which has flattened its parameters so that none has a "
            "name any more; put the weights into the bare model and wrap it then, or shard it with fully_shard (FSDP2)"
        )


def _meant(target: str) -> str:
    """Return the name that was meant where it was written as a path or with a dot, else an empty text."""
    module, colon, name = target.partition(":")
    if not colon:
        module, _, name = target.rpartition(".")
        if name == "py":
            return ""
    module = module.removesuffix(".py").strip("/.").replace("/", ".")
    words = [*module.split("."), *name.split(".")]
    return f"{module}:{name}" if all(word.isidentifier() for word in words) and f"{module}:{name}" != target else ""


def described(value: object) -> str:
    """Word what something is: ``a dict``, ``the class OrderedDict``."""
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    kind = type(value).__name__
    return f"{'an' if kind[:1] in 'AEIOUaeiou' else 'a'} {kind}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without the traceback text that may follow."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else ""


def _count(names: Sequence[str]) -> str:
    return "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
