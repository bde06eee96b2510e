"""Every tensor of a value, wherever it stands: what is kept of them, and by name what is not.

Pure, and sound by construction: the value is walked as a whole, and whatever is no tensor that is kept is left out and
said. Nothing here asks what a key is called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from registry.checkpoints.pickles.torch_vocabulary import Unstorable
from registry.tensors.foreign import Array, Foreign, TorchConstant

Path = tuple[str, ...]
"""The way from the root of a value to a part, every step with what stands in front of it: ``/model``, ``.bias``."""

MOST_NAMED = 20
"""Parts that a sentence names one by one."""
LONGEST_NAME = 200
"""Characters of a name in a sentence."""


def is_tensor(value: Any) -> bool:
    """Return whether a value is one tensor: of a file, of memory, or of a kind that cannot be stored."""
    return _is_of_tensors(type(value))  # type: ignore[arg-type]  # mypy takes no class for hashable


@cache
def _is_of_tensors(cls: type) -> bool:
    return issubclass(cls, Unstorable) or (hasattr(cls, "buffer") and hasattr(cls, "identity"))


def bears_tensors(value: Any) -> bool:
    """Return whether there is a tensor anywhere in a value."""
    return any(True for _ in tensors_of(value))


def tensors_of(value: Any) -> Iterator[tuple[Path, Any]]:
    """Yield every tensor in a value, and every array of numpy of more than one element, with the way to it.

    Every object is visited once, however often it is referred to: a file of some bytes can describe structures that
    unfold to more than any memory. The names of a state dict are ways of several steps.
    """
    seen: set[int] = set()
    kept_alive: list[Any] = []
    left: list[tuple[Path, Any]] = [((), value)]
    while left:
        path, item = left.pop()
        if _is_leaf(item):
            yield path, item
            continue
        parts = _parts(item)
        if parts is None or id(item) in seen:
            continue
        seen.add(id(item))
        kept_alive.append(item)
        left.extend(reversed([((*path, *steps), part) for steps, part in parts]))


def identities(tensors: Iterable[Any]) -> set[Hashable]:
    """Return what the given tensors are known by: two names of one piece of memory are one tensor."""
    return {identity_of(tensor) for tensor in tensors}


def left_out(contents: Mapping[Path, Any], kept: Collection[Hashable]) -> dict[str, int]:
    """Return what of some values is not kept, as the number of tensors by the name of the part.

    A part is the largest one of which nothing is kept: a whole state dict, or one tensor in it.

    Args:
        contents: values by the way to them.
        kept: the identities of all tensors that are kept.
    """
    lost: list[Path] = []
    alive: set[Path] = set()
    for root, value in contents.items():
        for path, tensor in tensors_of(value):
            if identity_of(tensor) in kept:
                alive.update((*root, *path)[:length] for length in range(len(root) + len(path) + 1))
            else:
                lost.append((*root, *path))
    parts: Counter[Path] = Counter()
    for path in lost:
        length = next((n for n in range(1, len(path)) if path[:n] not in alive), len(path))
        parts[path[:length]] += 1
    return {worded(path): number for path, number in parts.items()}


def worded(path: Path) -> str:
    """Return a way as it is said to the user, and as ``--weights`` takes it: ``ema/model.head``."""
    return "".join(path).lstrip("/") or "."


def said(parts: Mapping[str, int]) -> str:
    """Return the sentence that names what is not kept, or nothing."""
    if not parts:
        return ""
    named = list(parts.items())[:MOST_NAMED]
    shown = [f"'{name[:LONGEST_NAME]}' ({number} tensor{'s' * (number != 1)})" for name, number in named]
    more = list(parts.values())[MOST_NAMED:]
    also = f", and {sum(more)} tensors in {len(more)} more places, which `registry inspect --all` lists" if more else ""
    return f"not stored: {', '.join(shown)}{also}"


def _is_leaf(value: Any) -> bool:
    return is_tensor(value) or (isinstance(value, Array) and value.spec.numel > 1)


def identity_of(tensor: Any) -> Hashable:
    """Return what a tensor or an array is known by."""
    return getattr(tensor, "identity", None) or ("object", id(tensor))


def _parts(value: Any) -> Sequence[tuple[Path, Any]] | None:
    """Return what a value consists of, with the steps that lead there, or None where nothing can be inside."""
    if isinstance(value, dict):
        parts = [(_steps(key, item), item) for key, item in value.items()]
        # A tuple of tensors may be a key, and an OrderedDict has attributes.
        parts += [(("/a key",), key) for key in value if isinstance(key, tuple) or is_tensor(key)]
        return parts + [((f"/{name}",), item) for name, item in getattr(value, "__dict__", {}).items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [((f"/{number}",), item) for number, item in enumerate(value)]
    if isinstance(value, Foreign):
        inside = (("args", value.args), ("state", value.state), ("items", value.items))
        return [((f"/{name}",), item) for name, item in inside]
    return None


_WORDED = (str, int, float, bytes, tuple, type(None), TorchConstant)


def text_of(key: object) -> str:
    """Return a key as part of a path; one of a stranger's class is not asked, whose words would be code that runs."""
    return str(key) if isinstance(key, _WORDED) else f"({type(key).__name__})"


def _steps(key: Any, item: Any) -> Path:
    if not isinstance(key, str) or not is_tensor(item):
        return (f"/{text_of(key)}",)
    first, *rest = key.split(".")
    return (f"/{first}", *(f".{component}" for component in rest))
