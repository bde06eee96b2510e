"""Errors of choosing what to store from a checkpoint that was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry.errors.canonical import some
from registry.errors.catalog import quoted
from registry.errors.root import RegistryError

_MOST_SETS, _LONGEST = 20, 200
"""Sets that a sentence lists, and characters of each name."""


class SeveralWeightSets(RegistryError):
    """The file holds more than one set of weights, and which one is meant is the user's to say."""

    def __init__(
        self,
        source: str,
        counts: Mapping[str, int],
        around: Mapping[str, Sequence[str]] | None = None,
        arrays: Sequence[str] = (),
        modules: Sequence[str] = (),
    ) -> None:
        """Word it.

        Args:
            arrays: which of them are of numpy's arrays.
            modules: which of them are whole pickled modules.
        """
        listed = _sets(counts, around or {}, arrays)
        several = [f"--weights {key}" for key in counts if key != "."][:2]
        together = "" if len(several) < 2 or arrays else f"; {' '.join(several)} stores both, as parts of one version"
        together += "" if "." in counts or arrays or modules else "; --weights . stores all of them as one set"
        super().__init__(
            f"{source} holds {len(counts)} sets of weights: {listed}; say which one with --weights, "
            f"for example --weights {next(iter(counts))}{together}"
        )
        self.counts = dict(counts)


class UnknownWeightSet(RegistryError):
    """There is no such set of weights in the file, or several go by that name."""

    def __init__(self, source: str, key: str, counts: Mapping[str, int], several: bool = False) -> None:
        listed = _sets(counts, {})
        if several:
            super().__init__(f"{source}: '{key}' may be several sets of weights: {listed}; give the whole path")
        else:
            super().__init__(f"{source}: there is no '{key}' in it; it has {listed}: give one of these")


class ModuleInDict(RegistryError):
    """A dict in memory holds a live module beside a state dict, which are not pushed as one."""

    def __init__(self, source: str, kind: str, where: str) -> None:
        super().__init__(
            f"{source} holds a live module ({kind}) under '{where}' beside a state dict; push the module itself, or a "
            "dict of modules alone, whose parts they are, or put its state_dict() in its place"
        )


class NotDownloaded(RegistryError):
    """A URL was given where a file is read."""

    def __init__(self, given: str) -> None:
        super().__init__(f"{quoted(given)} is a URL, and only files are read; download it, then give the file")


class NameNeeded(RegistryError):
    """What is pushed is not a file, so it suggests no name."""

    def __init__(self, source: str) -> None:
        super().__init__(f"{source} has no file name to take a name from; give one: registry.push(..., 'name')")


class ModelNeeded(RegistryError):
    """An entry names no class, so a load has nothing to build."""

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"{ref} was pushed without its class, so there is nothing to build; name it with "
            "model='package.module:Net' (--model), give an instance with registry.load(..., model=Net(args)), or take "
            "the tensors with registry.state_dict"
        )


class UnstorableInit(RegistryError):
    """A constructor argument cannot be kept so that a load gets the same value back."""

    def __init__(self, model: str, name: str, why: str) -> None:
        super().__init__(
            f"the constructor argument '{name}' of {model} cannot be stored: {why}; a version keeps numbers, texts, "
            "tensors, dtypes, paths, Namespaces, and lists, tuples, sets and dicts of them, so give it as one of "
            "these, or name a function that makes the model of them with model="
        )


class InitWithoutModel(RegistryError):
    """Constructor arguments were given for a file, and no class that takes them."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"{source} was given constructor arguments (--init, init=) without the class that takes them; name it with "
            "--model package.module:Class (model=), or leave the arguments out"
        )


class AllowanceWithoutModel(RegistryError):
    """Names that the class does not have were to be left out, and no class is given."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"{source}: --allow-unexpected (allow_unexpected=) names what the class does not have, and no class is "
            "given; name it with --model package.module:Class (model=), or leave --allow-unexpected out"
        )


class UnusableInit(RegistryError):
    """``init=`` was given something that is not a set of named arguments."""

    def __init__(self, found: str) -> None:
        super().__init__(f"init= is {found}; give a dict such as {{'num_classes': 40}}, or an argparse.Namespace")


class InitForInstance(RegistryError):
    """Constructor arguments were given for a load into a model that is constructed already."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"init= and init_as= say how a class is constructed, and model= is a {model} already; leave one of them out"
        )


class UnusableModel(RegistryError):
    """``model=`` was given something that names no class."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"model= is {found}; {remedy}")


class NotAModule(RegistryError):
    """``remember`` was given something that is neither a module nor a class of modules."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"registry.remember takes a torch.nn.Module or its class, and was given {found}; give the model itself"
        )


class InitInFile(RegistryError):
    """The class does not take the weights as it is built, and the file holds arguments that may be what it lacks."""

    def __init__(self, problem: str, options: str) -> None:
        super().__init__(
            f"{problem}; the file itself holds constructor arguments, which are not used unasked: give those that are "
            f"right ({options}), or take them all with --init-from-file (init_from_file=True)"
        )


class NoInitInFile(RegistryError):
    """Constructor arguments were to be taken from a file, and there are none, or nothing to give them to."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__(f"{source} {why}; leave out --init-from-file (init_from_file=True)")


class ChangedCheckpoint(RegistryError):
    """Somebody wrote to the file while it was read."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"{source} was changed while it was read, and nothing came of that; try again when its writer is done"
        )


def _sets(counts: Mapping[str, int], around: Mapping[str, Sequence[str]], arrays: Sequence[str] = ()) -> str:
    listed = [
        _set(key, count, around.get(key), "array" if key in arrays else "tensor")
        for key, count in list(counts.items())[:_MOST_SETS]
    ]
    more = len(counts) - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more else "")


def _set(key: str, count: int, around: Sequence[str] | None = None, noun: str = "tensor") -> str:
    tensors = f"{count} {noun}{'s' * (count != 1)}{' of numpy' * (noun == 'array')}"
    if around is None:
        return f"'{key[:_LONGEST]}' ({tensors})"
    return f"'{key[:_LONGEST]}' (all {tensors}{f', with {some(around)} beside the others' if around else ''})"
