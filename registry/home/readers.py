"""What an argument may be: each reader returns a value as the verbs know it, or says what it takes instead."""

from __future__ import annotations

import operator
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from registry.catalog.entry import Entry
from registry.client.address import is_url
from registry.errors.catalog import quoted
from registry.errors.intake import NotDownloaded

LARGEST = 2**63 - 1
"""The largest whole number that the database has room for."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


_LONGEST_PATH = 4096
"""Linux's limit; a longer one would stand in whole in the system's refusal."""


class Refused(Exception):
    """A value is not what an argument takes; the message says what it takes."""


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


def reference_or_several(value: object) -> str | tuple[str, ...]:
    """Take a reference, or several, and leave whether it is one."""
    if isinstance(value, (str, os.PathLike, Entry)):
        return reference(value)
    found = tuple(reference(each) for each in _each(value, (str, Entry), "give references such as ['pointnet:v3']"))
    if not found:
        raise Refused("give at least one reference, such as 'pointnet:v3'")
    return found


def time(value: object) -> str | date:
    """Take a day or a moment, as a text or an object; the grammar of a text is the catalog's to say."""
    return value if isinstance(value, date) else text("2026-11-01")(value)


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
    return tuple(_local(path(each)) for each in _each(value, (str, os.PathLike), "give paths such as ['./best.pth']"))


def _local(given: str) -> str:
    if is_url(given):
        raise NotDownloaded(given)
    return given


def reference_or_path(value: object) -> str | os.PathLike[str]:
    """Take a reference or a path, and leave it as it is spelled, which decides."""
    if isinstance(value, (str, os.PathLike)) and not isinstance(value, type):
        _local(path(value))
        return value
    if isinstance(value, Entry):
        return value.ref
    raise Refused("give a reference such as 'pointnet:v3' or a path such as './best.pth'")


def references_or_paths(value: object) -> tuple[str | os.PathLike[str], ...] | None:
    """Take references and paths, each as it is spelled; one by itself is one, and None is everything."""
    if value is None:
        return None
    wanted = "give references such as ['pointnet:v3'], or bundles such as ['pointnet.bundle']"
    return tuple(reference_or_path(each) for each in _each(value, (str, os.PathLike, Entry), wanted))


def path_as_spelled(value: object) -> str | os.PathLike[str]:
    """Take a path, and leave it as it is spelled, which decides what it is."""
    found = path(value)
    return value if isinstance(value, os.PathLike) else found


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
            most = f" and at most {LARGEST:,}" if number > LARGEST else ""
            raise Refused(f"give a whole number, at least {least}{most}")
        return number

    return read


def token(value: object) -> int | str:
    """Take the number of a token, or its user."""
    return text("ann")(value) if isinstance(value, str) else whole(1)(value)


def metrics(value: object) -> dict[str, float]:
    """Take finite numbers by name; whether they are finite, and the names' grammar, is the catalog's to say."""
    if not isinstance(value, Mapping):
        raise Refused("give numbers by name such as {'acc': 0.92}")
    found: dict[str, float] = {}
    for name, number in value.items():
        if isinstance(number, (str, bytes)):
            raise Refused(f"its {worded(name)} is {worded(number)} and not a number; give one such as 0.92")
        try:
            found[name] = float(number.detach() if hasattr(number, "detach") else number)  # a loss, as it was computed
        except Exception:
            raise Refused(f"its {worded(name)} is {worded(number)} and not a number; give one such as 0.92") from None
    return found


def tags(value: object) -> dict[str, str]:
    """Take texts by name; their grammar is the catalog's to say."""
    wanted = "give texts by name such as {'task': 'seg'}"
    if not isinstance(value, Mapping):
        raise Refused(wanted)
    for name, word in value.items():
        if not isinstance(word, str):
            raise Refused(f"its {worded(name)} is {worded(word)} and not a text; {wanted}")
    return dict(value)


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


def period(value: object) -> timedelta:
    """Take a time back from now: ``"30d"``, a ``timedelta``, or a number of seconds."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", value.strip()) if isinstance(value, str) else None
    if match is not None:
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    try:
        return duration(0, "604800")(value)
    except Refused:
        raise Refused("give a time such as '30d', '12h' or '2w', a timedelta or a number of seconds") from None


def states(value: object) -> dict[str, Any]:
    """Take objects with a state by name; what names may be is the training state's to say."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise Refused("give objects by name such as {'loader': loader}")
    found = {}
    for name, owner in value.items():
        try:
            found[name] = stateful(name)(owner)
        except Refused as refusal:
            raise Refused(f"its {worded(name)} is {worded(owner)}; {refusal}") from None
    return found


def function(value: object) -> Callable[..., Any]:
    """Take something that can be called."""
    if not callable(value):
        raise Refused("give a function of (bytes done, bytes in all)")
    return value


def listener(value: object) -> Callable[..., Any]:
    """Take something that can be called with a text."""
    if not callable(value):
        raise Refused("give a function of one text, such as print")
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
    """Take an instance of a model, or several as one."""
    if (found := _live(value)) is not None:
        return found
    if isinstance(value, type):
        raise Refused(f"give an instance: {value.__name__}(...)")
    raise Refused("give a torch.nn.Module, such as PointNet(num_classes=40)")


def module_or_stored(value: object) -> Any:
    """Take a model, a reference or a path."""
    if _live(value) is not None or isinstance(value, type):
        return module(value)
    if isinstance(value, (str, os.PathLike, Entry)):
        return reference_or_path(value)
    raise Refused("give a model (a torch.nn.Module), a reference such as 'pointnet:v3' or a path such as './best.pth'")


def checkpoint(value: object) -> Any:
    """Take what can be pushed: a path, a model, several models as one, or a state dict."""
    wanted = "give a path, a torch.nn.Module, a dict of them or a state dict"
    if isinstance(value, type):
        raise Refused(f"{wanted}; of a class an instance: {value.__name__}(...)")
    if isinstance(value, (str, os.PathLike)):
        return _local(path(value))
    if (found := _live(value)) is not None:
        return found
    if not isinstance(value, Mapping):
        raise Refused(wanted)
    return value


def sets_of_weights(value: object) -> str | dict[str, str]:
    """Take the path of a set of weights; or several, which are the parts of one version."""
    if isinstance(value, str):
        return text("state_dict")(value)
    from registry.checkpoints.choosing import parts_called

    wanted = "give a path such as 'state_dict', or those of several parts such as ['point', 'img']"
    if isinstance(value, Mapping):
        return parts_called(
            [(part, path) for part, path in zip(value, _each(value.values(), str, wanted), strict=True)]
        )
    found = _each(value, str, wanted)
    if not found:
        raise Refused(wanted)
    return parts_called(found)


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


def _live(value: object) -> Any:
    """Return a live model, or several in a dict or a list as one; None of anything else."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    if isinstance(value, torch.nn.Module):
        return value
    from registry.modules.parts import are_parts, as_one

    parts: Any = value
    return as_one(parts) if are_parts(value) else None
