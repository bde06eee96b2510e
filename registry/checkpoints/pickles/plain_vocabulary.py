"""What a pickle may name beside torch and numpy: containers, paths, dates, configurations; all plain data."""

from __future__ import annotations

import datetime
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from registry.checkpoints.pickles.vocabulary import (
    BadPickle,
    Buildable,
    Global,
    Handler,
    Machine,
    Python2Text,
    Vocabulary,
    label,
)
from registry.tensors.foreign import (
    FACTORIES,
    Duration,
    Foreign,
    NamespaceRecord,
    PathText,
    Record,
    SimpleNamespaceRecord,
    Worded,
)


class Configuration(Record, Buildable):
    """Stands for an omegaconf ``DictConfig``, with the values of its nodes."""

    def build(self, machine: Machine, state: Any) -> None:
        content = state.get("_content") if isinstance(state, dict) else None
        if isinstance(content, dict):
            machine.charge(100 * len(content))
            self.update({label(key): _node_value(node) for key, node in content.items()})


class ConfigurationList(list[Any], Buildable):
    """Stands for an omegaconf ``ListConfig``."""

    def build(self, machine: Machine, state: Any) -> None:
        content = state.get("_content") if isinstance(state, dict) else None
        if isinstance(content, list):
            machine.charge(8 * len(content))
            self.extend(_node_value(node) for node in content)


def _node_value(node: Any) -> Any:
    if isinstance(node, Foreign) and node.name.startswith("omegaconf.") and isinstance(node.state, dict):
        return node.state.get("_val")
    return node


def _items(machine: Machine, args: tuple[Any, ...], each: int) -> Any:
    """Return the one iterable that a container is made of, after charging for the copy of it."""
    if not args:
        return ()
    if len(args) > 1 or not isinstance(args[0], (list, tuple, set, frozenset, dict)):
        raise BadPickle("a container is made of something that is none")
    machine.charge(each * len(args[0]))
    return args[0]


def _mapping(kind: type[dict[Any, Any]]) -> Handler:
    """A mapping of some kind, made of pairs."""
    return lambda machine, args: _filled(machine, kind(), args)


_PYTHON_2 = {"long": "int", "unicode": "str"}
"""What protocol 2 calls these builtins."""


def _default_dict(machine: Machine, args: tuple[Any, ...]) -> dict[Any, Any]:
    made = args[0] if args else None
    name = _PYTHON_2.get(made.name, made.name) if isinstance(made, Global) and made.module == "builtins" else ""
    if name in FACTORIES:
        return _filled(machine, defaultdict(FACTORIES[name]), args[1:])
    return _filled(machine, defaultdict() if made is None else Record(), args[1:])


def _empty(kind: type[Any]) -> Handler:
    """Something that is filled by the state that follows it."""
    return lambda machine, args: kind()


def _filled(machine: Machine, target: dict[Any, Any], args: tuple[Any, ...]) -> dict[Any, Any]:
    items = _items(machine, args, 150)
    for pair in items.items() if isinstance(items, dict) else items:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise BadPickle("a dict is made of something that is not a pair")
        machine.put(target, pair[0], pair[1])
    return target


def _set(machine: Machine, args: tuple[Any, ...]) -> set[Any]:
    return machine.add_all(set(), _items(machine, args, 80))


def _frozenset(machine: Machine, args: tuple[Any, ...]) -> frozenset[Any]:
    return frozenset(_set(machine, args))


def _sequence(kind: type[list[Any]] | type[tuple[Any, ...]]) -> Handler:
    return lambda machine, args: kind(_items(machine, args, 8))


def raw_bytes(value: Any) -> bytes:
    """Return the bytes that a bytes-like argument stands for, also where Python 2 wrote it as text.

    Raises:
        BadPickle: it is neither.
    """
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, Python2Text):
        return value.raw
    if isinstance(value, str):
        return value.encode("latin-1")
    raise BadPickle(f"bytes are made of a {type(value).__name__}")


def _encode(machine: Machine, args: tuple[Any, ...]) -> bytes:
    """``_codecs.encode``: how protocol 2 of Python 3 writes bytes."""
    text, encoding = (*args, "latin1")[:2]
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise BadPickle("a text is encoded in an unusual way")
    machine.charge(len(text))
    return str(text).encode(encoding)


def _bytes(machine: Machine, args: tuple[Any, ...]) -> bytes:
    if not args:
        return b""
    machine.charge(len(args[0]) if isinstance(args[0], (bytes, bytearray, str)) else 0)
    return raw_bytes(args[0])


def _bytearray(machine: Machine, args: tuple[Any, ...]) -> bytearray:
    return bytearray(_bytes(machine, args))


def _numbers(args: tuple[Any, ...], kinds: tuple[type, ...]) -> tuple[Any, ...]:
    if not all(isinstance(item, kinds) for item in args):
        raise BadPickle("a number is made of something that is none")
    return args


def _complex(machine: Machine, args: tuple[Any, ...]) -> complex:
    return complex(*_numbers(args, (int, float)))


def _slice(machine: Machine, args: tuple[Any, ...]) -> slice | Foreign:
    return slice(*args) if all(item is None or isinstance(item, int) for item in args) else Foreign("builtins.slice")


def _range(machine: Machine, args: tuple[Any, ...]) -> range:
    return range(*_numbers(args, (int,)))


def _path(machine: Machine, args: tuple[Any, ...]) -> str:
    if not all(isinstance(part, str) for part in args):
        raise BadPickle("a path is made of something that is not a text")
    machine.charge(sum(map(len, args)))
    return Worded(PurePosixPath(*args))


def _posix_path(machine: Machine, args: tuple[Any, ...]) -> str:
    return PathText(_path(machine, args))


def _moment(kind: type[datetime.datetime] | type[datetime.date] | type[datetime.time], length: int) -> Handler:
    def read(machine: Machine, args: tuple[Any, ...]) -> str:
        packed = raw_bytes(args[0]) if args and len(args[0]) <= 2 * length else b""
        if len(packed) != length:
            raise BadPickle("a date is of another length than Python writes")
        return Worded(kind(packed).isoformat())  # type: ignore[arg-type, call-arg]

    return read


def _duration(machine: Machine, args: tuple[Any, ...]) -> float:
    return Duration(datetime.timedelta(*_numbers(args, (int,))).total_seconds())


_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")

_HANDLERS: Mapping[str, Handler] = {
    "builtins.dict": _mapping(dict),
    "builtins.list": _sequence(list),
    "builtins.tuple": _sequence(tuple),
    "builtins.set": _set,
    "builtins.frozenset": _frozenset,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytearray,
    "builtins.complex": _complex,
    "builtins.slice": _slice,
    "builtins.range": _range,
    "builtins.xrange": _range,
    "_codecs.encode": _encode,
    "collections.OrderedDict": _mapping(OrderedDict),
    "collections.defaultdict": _default_dict,
    "collections.Counter": _mapping(Counter),
    "argparse.Namespace": _mapping(NamespaceRecord),
    "types.SimpleNamespace": _mapping(SimpleNamespaceRecord),
    "datetime.datetime": _moment(datetime.datetime, 10),
    "datetime.date": _moment(datetime.date, 4),
    "datetime.time": _moment(datetime.time, 6),
    "datetime.timedelta": _duration,
    "omegaconf.dictconfig.DictConfig": _empty(Configuration),
    "omegaconf.listconfig.ListConfig": _empty(ConfigurationList),
    "pytorch_lightning.utilities.parsing.AttributeDict": _mapping(Record),
    "lightning.pytorch.utilities.parsing.AttributeDict": _mapping(Record),
    "lightning_fabric.utilities.data.AttributeDict": _mapping(Record),
    "lightning.fabric.utilities.data.AttributeDict": _mapping(Record),
    "easydict.EasyDict": _mapping(Record),
    "addict.addict.Dict": _mapping(Record),
    "munch.Munch": _mapping(Record),
    **{f"{module}.{name}": _path for module in ("pathlib", "pathlib._local") for name in _PATHS},
    **{f"{module}.{name}": _posix_path for module in ("pathlib", "pathlib._local") for name in ("Path", "PosixPath")},
}

PLAIN = Vocabulary(_HANDLERS, {})
