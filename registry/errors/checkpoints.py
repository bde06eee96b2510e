"""Errors of reading what others wrote: no such file, no checkpoint, damaged, or nothing that can be stored."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from registry.errors.canonical import some
from registry.errors.root import RegistryError, few


class NoSuchCheckpoint(RegistryError):
    """The path leads nowhere."""

    def __init__(self, source: str, near: str = "") -> None:
        super().__init__(f"no such file: {source}; {f'did you mean {near}?' if near else 'check the path'}")


class UnopenableCheckpoint(RegistryError):
    """The operating system refuses to open or read the path."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source} cannot be opened: {reason}; check the path and its permissions")


class NotACheckpoint(RegistryError):
    """The file is something else than a checkpoint."""

    def __init__(
        self, source: str, what: str, remedy: str = "", is_something: bool = True, stands_for: bool = False
    ) -> None:
        """Word it.

        Args:
            is_something: whether its bytes say what it is; empty, zeros or of no known format, it may have been one.
            stands_for: whether it stands where a checkpoint should be: a pointer, an error page.
        """
        super().__init__(f"{source} is not a checkpoint: it is {what}" + (f"; {remedy}" if remedy else ""))
        self.what, self.remedy, self.is_something, self.stands_for = what, remedy, is_something, stands_for


class DamagedCheckpoint(RegistryError):
    """The file is a checkpoint, and its bytes contradict each other."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source} cannot be read, it is damaged or was cut short: {reason}; copy or save it again")


class OversizedCheckpoint(RegistryError):
    """What the file claims to hold is out of proportion to its bytes."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(
            f"{source} is refused: {reason}, which no training writes; save model.state_dict() again where it is from"
        )


class EmptyCheckpoint(RegistryError):
    """The file is sound and holds no set of weights."""

    def __init__(self, source: str, found: str, remedy: str = "save model.state_dict()") -> None:
        super().__init__(
            f"{source} holds no tensors under names, so there is nothing to store: it is {found}; {remedy}"
        )
        self.found = found


class PickledModule(RegistryError):
    """The file is a whole pickled module: its weights are inside of objects that only its own code can build."""

    def __init__(
        self, source: str, name: str, place: Sequence[object], readable: Mapping[str, int] | None = None
    ) -> None:
        """Word it.

        Args:
            readable: where there are modules whose tensors can be read all the same, with the number of them.
        """
        inside = f" under '{'/'.join(map(str, place))}'" if place else ""
        named = [f"--weights {key} ({count} tensors)" for key, count in (readable or {}).items()]
        read = f"give {few(named)} to read its tensors without that; or, " if named else ""
        super().__init__(
            f"{source} holds a whole pickled module ({name}){inside} and no state dict; building it would run code, "
            f"so it is refused; {read}if you trust it, in the project that wrote it run",
            snippet="\n"
            f"    model = torch.load({source!r}, weights_only=False){_indexed(place)}\n"
            '    torch.save(model.state_dict(), "weights.pth")\n'
            "and push weights.pth",
        )


class ArraysOfNumpy(RegistryError):
    """The file holds arrays of numpy under names, where tensors should be."""

    def __init__(self, source: str, place: Sequence[object], arrays: int) -> None:
        inside = f" under '{'/'.join(map(str, place))}'" if place else ""
        super().__init__(
            f"{source} holds {arrays} arrays of numpy{inside} where tensors should be; if they are the weights, run",
            snippet="\n"
            f"    arrays = torch.load({source!r}, weights_only=False){_indexed(place)}\n"
            '    torch.save({name: torch.as_tensor(value) for name, value in arrays.items()}, "weights.pth")\n'
            "and push weights.pth",
        )


class TorchScriptArchive(RegistryError):
    """The file is a program, with its weights inside."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"{source} is a TorchScript archive, a program and no state dict; if you trust it, run",
            snippet=f"\n    model = torch.jit.load({source!r})\n"
            '    torch.save(model.state_dict(), "weights.pth")\n'
            "and push weights.pth",
        )


class ForeignObjects(RegistryError):
    """Objects of classes that are not read stand where weights should be."""

    def __init__(self, source: str, names: Sequence[str], place: str) -> None:
        where = f" at {place}" if place else ""
        super().__init__(
            f"{source} cannot be read safely: it holds pickled objects that only running code could rebuild "
            f"({some(names, 6)}){where}; save only model.state_dict(), or plain numbers, texts and tensors beside it"
        )
        self.names = tuple(names)


class UnstorableTensor(RegistryError):
    """One of the weights is of a kind that has no canonical bytes."""

    def __init__(self, source: str, name: str, kind: str, remedy: str) -> None:
        super().__init__(f"{source}: tensor '{name}' is {kind} and cannot be stored; {remedy}")
        self.name = name


class ShardedTensors(RegistryError):
    """The file is what one rank had of a sharded model."""

    def __init__(self, source: str, name: str, kind: str) -> None:
        super().__init__(
            f"{source} was saved by one rank of a sharded model (FSDP): '{name}' is a {kind} and holds only a part "
            "of its tensor, the other ranks have the rest; save get_model_state_dict(model, "
            "options=StateDictOptions(full_state_dict=True)) from torch.distributed.checkpoint.state_dict, or save "
            "with torch.distributed.checkpoint and push its folder"
        )


class MissingShard(RegistryError):
    """A file that an index names is not there."""

    def __init__(self, source: str, shard: str, tensors: int) -> None:
        super().__init__(
            f"{source} is incomplete: the shard {shard} is missing, which holds {tensors} of its tensors; "
            "download or copy it again"
        )


class SavedTwice(RegistryError):
    """A folder holds one model in a file and again in shards, of which nothing says which is meant."""

    def __init__(self, source: str, whole: str, index: str) -> None:
        super().__init__(
            f"{source} holds the model twice: in {whole}, which from_pretrained reads, and in the shards of {index}; "
            f"remove the one that is old, or say which is meant: --weights {whole}, or --weights . for the shards"
        )


class OneShard(RegistryError):
    """The file is one of several that belong together."""

    def __init__(self, source: str, shards: int) -> None:
        super().__init__(f"{source} is one shard of {shards}; give the folder that holds all of them and their index")


class UnknownFolder(RegistryError):
    """A folder is not a checkpoint of a known kind."""

    def __init__(self, source: str, files: Sequence[str]) -> None:
        choice = f"give one of its files: {some(files)}" if files else "give the file or folder that has the weights"
        if len(files) > 1:
            choice += f", or take all of them with `registry import {shlex.quote(source)}`"
        super().__init__(
            f"{source} is a folder, and not a checkpoint of a known kind: it has no index of shards, no .metadata of "
            f"torch.distributed.checkpoint and no 'latest' of DeepSpeed; {choice}"
        )


class UnpackedCheckpoint(RegistryError):
    """A folder is what remains where a file of torch.save was unpacked as the zip archive that it is."""

    def __init__(self, source: str, parent: str, name: str) -> None:
        super().__init__(
            f"{source} is an unpacked file of torch.save (it has data.pkl); push the original file, or pack it again: "
            f"(cd {shlex.quote(parent)} && zip -0 -r packed.pth {shlex.quote(name)})"
        )


class ZeroShards(RegistryError):
    """A DeepSpeed checkpoint whose weights are spread over ranks."""

    def __init__(self, source: str, kind: str) -> None:
        super().__init__(
            f"{source} holds {kind} shards of DeepSpeed, a part of the weights a rank; gather them with "
            "`python zero_to_fp32.py . gathered` in the checkpoint's folder (DeepSpeed puts the script there) and "
            "push what it writes"
        )


class PartOfModel(RegistryError):
    """The file is what one of several processes saved of its share of the weights."""

    def __init__(self, source: str, evidence: str, remedy: str) -> None:
        super().__init__(f"{source} holds a part of the weights: {evidence}; {remedy}")


class UnencodableValue(RegistryError):
    """A value beside the weights is not plain data."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"{where} cannot be stored: {reason}; only numbers, texts, bytes, tensors and lists, tuples, sets and "
            "dicts of them are kept"
        )
        self.where, self.reason = where, reason


def _indexed(place: Sequence[object]) -> str:
    """Return the Python that leads from a value to a part of it."""
    return "".join(f"[{key!r}]" for key in place)
