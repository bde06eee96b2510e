"""Directories of ``torch.distributed.checkpoint``, read on one machine and without the cluster.

``.metadata`` is a pickle that lists every tensor, its pieces and where each piece lies; ``__<rank>_<n>.distcp`` hold
them, each as a ``torch.save`` of its own. Source: torch/distributed/checkpoint/{metadata,filesystem}.py of torch 2.13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.checkpoints.assembled import AssembledTensor, Chunk, faulty
from registry.checkpoints.containers import sort_contents
from registry.checkpoints.formats.torch_zip import read_torch_zip
from registry.checkpoints.formats.zip_archive import MAGIC as ZIP
from registry.checkpoints.inventory import text_of
from registry.checkpoints.mapping import OpenedFile, Span, open_span, status_of
from registry.checkpoints.parts import METADATA
from registry.checkpoints.pickles.torch_vocabulary import CHECKPOINT
from registry.checkpoints.pickles.unpickling import unpickle
from registry.checkpoints.pickles.vocabulary import BadPickle
from registry.checkpoints.settling import settle
from registry.checkpoints.tensors import FileTensor
from registry.checkpoints.weights import Checkpoint
from registry.errors.checkpoints import DamagedCheckpoint, MissingShard, NoSuchCheckpoint, OversizedCheckpoint
from registry.tensors.budget import Budget
from registry.tensors.foreign import Foreign, TorchConstant
from registry.tensors.spec import TensorSpec


class _Faulty(Exception):
    """What is wrong with the metadata."""


def open_distributed(path: Path) -> Checkpoint:
    """Read a directory that ``torch.distributed.checkpoint.save`` wrote, from any number of ranks.

    Raises:
        DamagedCheckpoint, MissingShard, OversizedCheckpoint: the directory is not whole.
    """
    value, nbytes, files = read_distributed(path)
    return replace(sort_contents(value, str(path), nbytes, path, "dcp"), files=files)


def read_distributed(path: Path) -> tuple[dict[str, Any], int, tuple[OpenedFile, ...]]:
    """Return the nested value that was saved in a directory, the size of all its files, and the files.

    Raises:
        DamagedCheckpoint, MissingShard, OversizedCheckpoint: the directory is not whole.
    """
    source = str(path)
    try:
        metadata = open_span(path / METADATA)
        described = unpickle(metadata.read(), CHECKPOINT)[0]
        directory = _Directory(path, _state(settle(described, source, len(metadata), through=True).value), metadata)
        return *directory.value(), directory.files
    except (BadPickle, _Faulty) as fault:
        raise DamagedCheckpoint(source, f"its .metadata: {fault}") from None


class _Directory:
    def __init__(self, path: Path, metadata: Mapping[str, Any], content: Span) -> None:
        self._path = path
        self._content = content
        self._source = str(path)
        self._entries = _mapping(metadata.get("state_dict_metadata"))
        self._paths = metadata.get("planner_data")
        self._places = {}
        for key, value in _mapping(metadata.get("storage_data")).items():
            index = _state(key)
            self._places[_place(index.get("fqn"), _counts(index.get("offset")))] = _state(value)
        self._files: dict[str, Span] = {}
        self._values: dict[tuple[str, int, int], Any] = {}
        """What was read of a file's part, so that none is read twice."""
        self._budget: Budget | None = None

    @property
    def files(self) -> tuple[OpenedFile, ...]:
        """All that were opened."""
        spans = (self._content, *self._files.values())
        return tuple(span.file for span in spans if isinstance(span.file, OpenedFile))

    def value(self) -> tuple[dict[str, Any], int]:
        """Return the nested value that was saved, and the size of all files."""
        entries = {name: self._entry(text_of(name), _foreign(entry)) for name, entry in self._entries.items()}
        value = _nested(entries, self._paths)
        return value, sum(map(len, self._files.values()))

    def _entry(self, name: str, entry: Foreign) -> Any:
        if entry.name.endswith(".BytesStorageMetadata"):
            return self._value(self._slice(name, None))
        if not entry.name.endswith(".TensorStorageMetadata"):
            raise _Faulty(f"'{name[:60]}' is a {entry.name[:60]}")
        state = _state(entry)
        shape, dtype = _counts(state.get("size")) or (), _dtype(state.get("properties"))
        chunks = tuple(self._chunk(name, _state(chunk)) for chunk in _list(state.get("chunks")))
        if fault := faulty(shape, chunks):
            raise _Faulty(f"'{name[:60]}': {fault}")
        return AssembledTensor(self._source, name, TensorSpec(dtype, shape), chunks)

    def _value(self, content: Span) -> Any:
        if content.read(0, 4) != ZIP:
            return Foreign("a pickle of its own")
        if self._budget is None:
            self._budget = Budget(sum(map(len, self._files.values())))
        place = (str(content.file.path) if isinstance(content.file, OpenedFile) else "", content.begin, content.size)
        if place not in self._values:
            self._values[place] = read_torch_zip(content, self._source, self._budget)
        return self._values[place]

    def _chunk(self, name: str, state: Mapping[str, Any]) -> Chunk:
        offsets, sizes = _counts(state.get("offsets")) or (), _counts(state.get("sizes")) or ()
        content = self._slice(name, offsets)

        def read() -> FileTensor:
            tensor = read_torch_zip(content, self._source)
            if not isinstance(tensor, FileTensor):
                raise DamagedCheckpoint(self._source, f"a piece of '{name[:60]}' is not a tensor")
            return tensor

        return Chunk(offsets, sizes, read)

    def _slice(self, name: str, offsets: tuple[int, ...] | None) -> Span:
        """Return the bytes of one piece; where there is one piece only, its offset may be left out."""
        place = self._places.get(_place(name, offsets))
        if place is None and offsets is not None and not any(offsets):
            place = self._places.get(_place(name, None))
        if place is None:
            raise _Faulty(f"a piece of '{name[:60]}' has no place")
        if place.get("transform_descriptors"):
            kinds = ", ".join(map(text_of, _list(place["transform_descriptors"])))
            raise OversizedCheckpoint(self._source, f"'{name[:60]}' is compressed ({kinds[:40]})")
        file, offset, length = place.get("relative_path"), place.get("offset"), place.get("length")
        if not isinstance(file, str) or Path(file).name != file or file in ("", ".", ".."):
            raise _Faulty(f"a piece of '{name[:60]}' lies in {text_of(file)[:60]!r}, which is not a file beside it")
        content = self._file(file)
        if type(offset) is not int or type(length) is not int or not 0 <= offset <= offset + length <= len(content):
            raise _Faulty(f"a piece of '{name[:60]}' lies beyond the end of {file}")
        return content.part(offset, offset + length)

    def _file(self, name: str) -> Span:
        if name not in self._files:
            try:
                status_of(self._path / name)
            except NoSuchCheckpoint as error:
                held = sum(place.get("relative_path") == name for place in self._places.values())
                raise MissingShard(self._source, name, held) from error
            self._files[name] = open_span(self._path / name)
        return self._files[name]


def _place(name: Any, offsets: tuple[int, ...] | None) -> str:
    """Return a key for a piece; as text, since numbers can be chosen so that all of them collide."""
    return f"{offsets} {text_of(name)}"


def _nested(entries: Mapping[Any, Any], paths: Any) -> dict[str, Any]:
    """Undo the flattening of nested dicts (``model.encoder.weight``), by the paths that the planner recorded."""
    known = paths if isinstance(paths, dict) else {}
    root: dict[str, Any] = {}
    for name, value in entries.items():
        path = known.get(name)
        if not isinstance(path, tuple) or not path or len(path) > 50:
            path = (name,)
        level = root
        for step in path[:-1]:
            level = level.setdefault(text_of(step), {})
            if not isinstance(level, dict):
                raise _Faulty(f"'{text_of(name)[:60]}' has a path through a tensor")
        level[text_of(path[-1])] = value
    return root


def _foreign(value: Any) -> Foreign:
    if not isinstance(value, Foreign):
        raise _Faulty(f"it holds a {type(value).__name__} where a description should be")
    return value


def _state(value: Any) -> Mapping[str, Any]:
    return _mapping(_foreign(value).state or {})


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise _Faulty("a table of it is missing")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _Faulty("a list of it is missing")
    return value


def _counts(value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, tuple) or not all(type(n) is int and 0 <= n < 1 << 62 for n in value):
        raise _Faulty("a size or offset of it is none")
    return tuple(value)


def _dtype(properties: Any) -> str:
    state = _foreign(properties).state
    dtype = state[0] if isinstance(state, tuple) and state else (state or {}).get("dtype")
    if not isinstance(dtype, TorchConstant):
        raise _Faulty("a tensor of it has no dtype")
    return dtype.name
