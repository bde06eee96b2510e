"""The arguments of the verbs: by name, what each takes. An argument of one name means the same in every verb."""

from __future__ import annotations

import functools
import inspect
import operator
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

from registry.catalog.entry import Entry
from registry.catalog.version import MOST_NOTE_BYTES
from registry.errors.arguments import InvalidArgument, WrongCall
from registry.errors.catalog import quoted

P = ParamSpec("P")
T = TypeVar("T")

LARGEST = 2**63 - 1
"""The largest whole number that the database has room for."""

_LONGEST_PATH = 4096
"""Linux's limit; a longer one would stand in whole in the system's refusal."""


class Refused(Exception):
    """A value is not what an argument takes; the message says what it takes."""


def checked(verb: Callable[P, T]) -> Callable[P, T]:
    """Make a verb read its arguments by their names, before anything is done.

    Raises (the verb, from then on):
        InvalidArgument: one is of the wrong kind.
        WrongCall: one is unknown, missing, or given twice.
    """
    signature = inspect.signature(verb)
    parameters = list(signature.parameters)
    verb_name = verb.__qualname__.partition(".")[0] if verb.__name__ == "__init__" else verb.__name__

    @functools.wraps(verb)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            unknown = next((keyword for keyword in kwargs if keyword not in signature.parameters), None)
            if unknown is not None:
                raise WrongCall(verb_name, f"has no argument {quoted(unknown)}", _way(unknown, parameters)) from None
            takes = ", ".join(parameters[1:])
            raise WrongCall(verb_name, f"was called with {error}", f"it takes ({takes})") from None
        for name, value in given.arguments.items():
            read = OF_VERB.get((verb_name, name)) or ARGUMENTS.get(name)
            if read is None or (value is None and signature.parameters[name].default is None):
                continue
            try:
                given.arguments[name] = read(value)
            except Refused as refusal:
                raise InvalidArgument(verb_name, name, worded(value), str(refusal)) from None
        return verb(*given.args, **given.kwargs)

    return call


def widely(verb: Callable[..., T]) -> Callable[..., T]:
    """Do as ``checked``, where overloads say what is taken, and the verb itself what that is read as."""
    return checked(verb)


def worded(value: object) -> str:
    """Say what a value is: itself where that is short, else its type."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return quoted(value) if isinstance(value, str) else quoted(repr(_shortened(value)))[1:-1]
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    return f"a value of type {type(value).__name__}"


def _shortened(value: object) -> object:
    """Return a number that can be printed: Python refuses to print integers of thousands of digits."""
    return "a huge number" if isinstance(value, int) and value.bit_length() > 256 else value


# What an argument takes. Each returns the value as the verbs know it, or raises `Refused`.


def text(example: str, most: int = 1000) -> Callable[[object], str]:
    """Take a text of at most so many characters."""

    def read(value: object) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise Refused(f"give a text such as {example!r}, of at most {most:,} characters")
        return value

    return read


def texts(example: str) -> Callable[[object], tuple[str, ...]]:
    """Take texts; one by itself is one, and never a list of letters."""

    def read(value: object) -> tuple[str, ...]:
        return tuple(_each(value, str, f"give texts such as [{example!r}]"))

    return read


def word(*known: str) -> Callable[[object], str]:
    """Take one of a few words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise Refused(f"give one of {', '.join(map(repr, known))}")
        return value

    return read


def reference(value: object) -> str:
    """Take a reference, or the entry that a verb returned."""
    if isinstance(value, os.PathLike):
        raise Refused("give a reference such as 'pointnet:v3'; a file is pushed first, or compared with check")
    return text("pointnet:v3")(value.ref if isinstance(value, Entry) else value)


def path(value: object) -> str:
    """Take a path."""
    if not isinstance(value, (str, os.PathLike)) or isinstance(value, type):
        raise Refused("give a path, as a text or a pathlib.Path")
    try:
        found = os.fsdecode(value)
        os.fsencode(found)
    except (TypeError, UnicodeError):
        raise Refused("give a path, as a text or a pathlib.Path") from None
    if "\0" in found or len(found) > _LONGEST_PATH:
        raise Refused(f"a path has at most {_LONGEST_PATH:,} characters, none of which is NUL")
    return found


def paths(value: object) -> tuple[str, ...]:
    """Take paths; one by itself is one."""
    return tuple(path(each) for each in _each(value, (str, os.PathLike), "give paths such as ['./best.pth']"))


def reference_or_path(value: object) -> str | os.PathLike[str]:
    """Take a reference or a path, and leave it as it is spelled, which decides."""
    if isinstance(value, (str, os.PathLike)) and not isinstance(value, type):
        path(value)
        return value
    if isinstance(value, Entry):
        return value.ref
    raise Refused("give a reference such as 'pointnet:v3' or a path such as './best.pth'")


def truth(value: object) -> bool:
    """Take True or False."""
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    raise Refused("give True or False")


def whole(least: int) -> Callable[[object], int]:
    """Take a whole number that is not less than this one."""

    def read(value: object) -> int:
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, RuntimeError):
            raise Refused(f"give a whole number, at least {least}") from None
        if isinstance(value, bool) or not least <= number <= LARGEST:
            raise Refused(f"give a whole number, at least {least}")
        return number

    return read


def metrics(value: object) -> dict[str, float]:
    """Take finite numbers by name; whether they are finite, and the names' grammar, is the catalog's to say."""
    if not isinstance(value, Mapping):
        raise Refused("give numbers by name such as {'acc': 0.92}")
    found: dict[str, float] = {}
    for name, number in value.items():
        if isinstance(number, (str, bytes)):
            raise Refused(f"its {worded(name)} is {worded(number)} and not a number; give one such as 0.92")
        try:
            found[name] = float(number)
        except Exception:
            raise Refused(f"its {worded(name)} is {worded(number)} and not a number; give one such as 0.92") from None
    return found


def duration(least: float, example: str) -> Callable[[object], timedelta]:
    """Take a duration: a ``timedelta``, or a number of seconds."""

    def read(value: object) -> timedelta:
        wanted = f"give a timedelta or a number of seconds such as {example}"
        if isinstance(value, bool) or not isinstance(value, (int, float, timedelta)):
            raise Refused(wanted)
        try:
            found = value if isinstance(value, timedelta) else timedelta(seconds=value)
        except (OverflowError, ValueError):  # more than a timedelta holds, or NaN
            raise Refused(wanted) from None
        if found.total_seconds() < least:
            raise Refused(f"{wanted}, not less than {least:g}")
        return found

    return read


def function(value: object) -> Callable[..., Any]:
    """Take something that can be called."""
    if not callable(value):
        raise Refused("give a function of (bytes done, bytes in all)")
    return value


def dtype(value: object) -> Any:
    """Take a dtype, or its name in torch."""
    import torch

    found = getattr(torch, value.removeprefix("torch."), None) if isinstance(value, str) else value
    if not isinstance(found, torch.dtype):
        raise Refused("give a floating-point dtype such as torch.bfloat16 or 'bfloat16'")
    return found


def device(value: object) -> Any:
    """Take a device, its name, or the number of a GPU; whether it is there, the load finds out."""
    torch = sys.modules.get("torch")
    if (isinstance(value, str) and len(value) <= 80) or (torch is not None and isinstance(value, torch.device)):
        return value
    try:
        return f"cuda:{whole(0)(value)}"
    except Refused:
        raise Refused("give a device such as 'cpu', 'cuda' or 'cuda:0'") from None


def module(value: object) -> Any:
    """Take an instance of a model."""
    if _is_module(value):
        return value
    if isinstance(value, type):
        raise Refused(f"give an instance: {value.__name__}(...)")
    raise Refused("give a torch.nn.Module, such as PointNet(num_classes=40)")


def module_or_stored(value: object) -> Any:
    """Take a model, a reference or a path."""
    if _is_module(value) or isinstance(value, type):
        return module(value)
    if isinstance(value, (str, os.PathLike, Entry)):
        return reference_or_path(value)
    raise Refused("give a model (a torch.nn.Module), a reference such as 'pointnet:v3' or a path such as './best.pth'")


def checkpoint(value: object) -> Any:
    """Take what can be pushed: a path, a model, or a state dict."""
    wanted = "give a path, a torch.nn.Module or a state dict"
    if isinstance(value, type):
        raise Refused(f"{wanted}; of a class an instance: {value.__name__}(...)")
    if isinstance(value, (str, os.PathLike)):
        return path(value)
    if _is_module(value):
        return value
    if not isinstance(value, Mapping):
        raise Refused(wanted)
    return value


def stateful(kind: str, *needed: str) -> Callable[[object], Any]:
    """Take an object that has a state to store and to put back."""

    def read(value: object) -> Any:
        if isinstance(value, Mapping):
            raise Refused(f"give the {kind} itself and not its state_dict()")
        if isinstance(value, type) or not all(
            hasattr(value, name) for name in (*needed, "state_dict", "load_state_dict")
        ):
            raise Refused(f"give the {kind} itself, which has state_dict() and load_state_dict()")
        return value

    return read


def registry_itself(value: object) -> Any:
    """Take a registry, or what stands for one."""
    if isinstance(value, (str, os.PathLike, type)) or not hasattr(value, "push"):
        raise Refused("give a registry: registry.Registry(home)")
    return value


def _each(value: object, kind: type | tuple[type, ...], wanted: str) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, kind):
        return [value]
    if isinstance(value, (Mapping, bytes, bytearray, type)) or not isinstance(value, Iterable):
        raise Refused(wanted)
    try:
        found = list(value)
    except Exception:
        raise Refused(wanted) from None
    odd = next((each for each in found if not isinstance(each, kind)), None)
    if odd is not None or any(each is None for each in found):
        raise Refused(f"one of them is {worded(odd)}; {wanted}")
    return found


def _is_module(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


PATTERNS = texts("head.*")

ARGUMENTS: Mapping[str, Callable[[Any], Any]] = {
    "a": reference,
    "alias": text("best"),
    "aliases": texts("best"),
    "allow_missing": PATTERNS,
    "allow_shape": PATTERNS,
    "allow_unexpected": PATTERNS,
    "b": reference,
    "blocking": truth,
    "cast": dtype,
    "classes": truth,
    "ddp": truth,
    "device": device,
    "dry_run": truth,
    "epoch": whole(0),
    "force": truth,
    "force_new": truth,
    "format": text("safetensors"),
    "from_": text("ddp"),
    "fsdp": truth,
    "grace": duration(0, "604800"),
    "home": path,
    "init_as": word("kwargs", "namespace", "dict"),
    "init_from_file": truth,
    "limit": whole(0),
    "metric": text("acc>=0.9"),
    "metrics": metrics,
    "name": text("pointnet"),
    "names": PATTERNS,
    "note": text("frozen backbone", most=MOST_NOTE_BYTES),
    "optimizer": stateful("optimizer", "param_groups"),
    "out": path,
    "parent": reference,
    "progress": function,
    "rank": whole(0),
    "ref": reference,
    "ref_or_path": reference_or_path,
    "repair": truth,
    "report": truth,
    "resident": truth,
    "run": truth,
    "scaler": stateful("scaler"),
    "scheduler": stateful("scheduler"),
    "source": checkpoint,
    "sources": paths,
    "step": whole(0),
    "timeout": duration(1e-3, "600"),
    "trashed": truth,
    "verify": word("always", "once", "never"),
    "weights": text("state_dict"),
    "world_size": whole(1),
}
"""What each argument takes, by its name; what is not here is judged where the class is built or the model run."""

OF_VERB: Mapping[tuple[str, str], Callable[[Any], Any]] = {
    ("Keeper", "best_by"): text("val_acc"),
    ("Keeper", "hub"): registry_itself,
    ("Keeper", "keep_last"): whole(1),
    ("Keeper", "mode"): word("max", "min"),
    ("check", "module"): module_or_stored,
    ("load", "verify"): word("always", "once", "never", "outputs"),
    ("replay", "model"): module,
    ("resume", "model"): module,
}
"""Where one verb takes something else, and what the callbacks take."""

ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "alias": ("aliases", "give aliases='best'"),
    "dtype": ("cast", "give cast=torch.bfloat16"),
    "map_location": ("device", "give device='cuda:0'"),
    "metadata": ("metrics", "give metrics={'acc': 0.92}, note='...' and aliases=['best']"),
    "strict": ("allow_missing", "name what may differ: allow_missing=['head.*'], allow_unexpected=['head.*']"),
    "tags": ("aliases", "there are no tags; give aliases=['best'] for names that move and note='...' for text"),
    "torch_dtype": ("cast", "give cast=torch.bfloat16"),
    "version": ("ref", "the version is part of the reference: 'pointnet:v3'"),
    "weights_only": ("ref", "nothing in a checkpoint is ever run; leave it out"),
}
"""Keywords of other libraries: the argument that takes their place, and the way here."""


def _way(unknown: str, parameters: list[str]) -> str:
    argument, way = ELSEWHERE.get(unknown, ("", ""))
    if argument in parameters:
        return way
    import difflib

    near = difflib.get_close_matches(unknown, parameters[1:], 1)
    return f"did you mean {near[0]}?" if near else f"it takes ({', '.join(parameters[1:])})"
