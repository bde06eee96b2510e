"""The arguments of the verbs: by name, what each takes. An argument of one name means the same in every verb."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from registry.catalog.version import MOST_NOTE_BYTES
from registry.errors.arguments import InvalidArgument, WrongCall
from registry.errors.catalog import quoted
from registry.errors.root import RegistryError
from registry.home.readers import (
    Refused,
    checkpoint,
    device,
    dtype,
    duration,
    function,
    listener,
    metrics,
    module,
    module_or_stored,
    path,
    path_as_spelled,
    paths,
    period,
    reference,
    reference_or_path,
    reference_or_several,
    references_or_paths,
    registry_itself,
    sets_of_weights,
    stateful,
    states,
    tags,
    text,
    texts,
    time,
    token,
    truth,
    whole,
    word,
    worded,
)

_BY_PLACE = inspect.Parameter.POSITIONAL_OR_KEYWORD

P = ParamSpec("P")
T = TypeVar("T")


def checked(verb: Callable[P, T]) -> Callable[P, T]:
    """Make a verb read its arguments by their names, before anything is done.

    Raises (the verb, from then on):
        InvalidArgument: one is of the wrong kind.
        WrongCall: one is unknown, missing, or given twice.
    """
    signature = inspect.signature(verb)
    parameters = [name for name in signature.parameters if name != "self"]
    positional = [name for name, parameter in signature.parameters.items() if parameter.kind is _BY_PLACE]
    verb_name = verb.__qualname__.partition(".")[0] if verb.__name__ == "__init__" else verb.__name__
    readers = {name: OF_VERB.get((verb_name, name)) or ARGUMENTS.get(name) for name in parameters}
    optional = {name for name in parameters if signature.parameters[name].default is None}

    def read(name: str, value: Any) -> Any:
        reader = readers.get(name)
        if reader is None or (value is None and name in optional):
            return value
        try:
            return reader(value)
        except Refused as refusal:
            raise InvalidArgument(verb_name, name, worded(value), str(refusal)) from None

    def refuse_wrong(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise WrongCall if the verb does not take such arguments at all."""
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            unknown = next((keyword for keyword in kwargs if keyword not in signature.parameters), None)
            if unknown is not None:
                raise WrongCall(verb_name, f"has no argument {quoted(unknown)}", _way(unknown, parameters)) from None
            own = [name for name in positional if name != "self"]
            by_name = f"give all but {', '.join(own)} by name; " if len(args) > len(positional) and own else ""
            way = f"{by_name}it takes ({', '.join(parameters)})"
            raise WrongCall(verb_name, f"was called with {error}", way) from None

    @functools.wraps(verb)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            taken: Any = [*map(read, positional, args), *args[len(positional) :]]
            named: Any = {name: read(name, value) for name, value in kwargs.items()}
            return verb(*taken, **named)
        except (TypeError, RegistryError):
            refuse_wrong(args, kwargs)
            raise

    return call


def widely(verb: Callable[..., T]) -> Callable[..., T]:
    """Do as ``checked``, where overloads say what is taken, and the verb itself what that is read as."""
    return checked(verb)


PATTERNS = texts("head.*")

ARGUMENTS: Mapping[str, Callable[[Any], Any]] = {
    "a": reference,
    "after": time,
    "alias": text("best"),
    "aliases": texts("best"),
    "allow_missing": PATTERNS,
    "allow_shape": PATTERNS,
    "all_versions": truth,
    "allow_unexpected": PATTERNS,
    "b": reference,
    "base": reference,
    "before": time,
    "blocking": truth,
    "builder": text("transformers"),
    "blobs": text("s3://bucket/prefix"),
    "by": text("user@host"),
    "cache": path,
    "cast": dtype,
    "catalog": text("postgresql://USER@HOST/DATABASE"),
    "classes": truth,
    "ddp": truth,
    "device": device,
    "dry_run": truth,
    "epoch": whole(0),
    "expires": period,
    "folder": path,
    "force": truth,
    "force_new": truth,
    "format": text("safetensors"),
    "from_": text("ddp"),
    "fsdp": truth,
    "grace": period,
    "home": path_as_spelled,
    "init_as": word("kwargs", "namespace", "dict"),
    "init_from_file": truth,
    "keep_aliased": truth,
    "keep_best": texts("acc:3"),
    "keep_last": whole(1),
    "keep_tags": texts("release"),
    "keep_within": period,
    "limit": whole(0),
    "metrics": metrics,
    "models": texts("team/*"),
    "name": text("pointnet"),
    "names": PATTERNS,
    "new": text("team/pointnet"),
    "note": text("frozen backbone", most=MOST_NOTE_BYTES),
    "notify": listener,
    "old": text("pointnet"),
    "optimizer": stateful("optimizer", "param_groups"),
    "out": path,
    "parent": reference,
    "part": text("img"),
    "pattern": text("encoder.*"),
    "progress": function,
    "query": text("pointnet acc>=0.9"),
    "rank": whole(0),
    "ref": reference,
    "ref_or_path": reference_or_path,
    "refs": references_or_paths,
    "remove": texts("task"),
    "repair": truth,
    "report": truth,
    "resident": truth,
    "role": word("read", "write", "admin"),
    "run": truth,
    "scaler": stateful("scaler"),
    "scheduler": stateful("scheduler"),
    "source": checkpoint,
    "sources": paths,
    "state": states,
    "step": whole(0),
    "tags": tags,
    "to": path_as_spelled,
    "timeout": duration(1e-3, "600"),
    "trashed": truth,
    "update": truth,
    "user": text("ann"),
    "verb": text("push"),
    "verify": word("always", "once", "never"),
    "with_base": truth,
    "weights": sets_of_weights,
    "which": token,
    "without_base": truth,
    "world_size": whole(1),
}
"""What each argument takes, by its name; what is not here is judged where the class is built or the model run."""

OF_VERB: Mapping[tuple[str, str], Callable[[Any], Any]] = {
    ("Keeper", "best_by"): text("val_acc"),
    ("Keeper", "hub"): registry_itself,
    ("Keeper", "mode"): word("max", "min"),
    ("Keeper", "monitor"): text("val_acc"),
    ("Keeper", "run"): text("5f1c0d2e"),
    ("Keeper", "save_top_k"): whole(-1),
    ("checkpoint", "hub"): registry_itself,
    ("checkpoint", "path"): path,
    ("card", "text"): text("# PointNet", most=1 << 20),
    ("check", "module"): module_or_stored,
    ("push", "run"): text("5f1c0d2e"),
    ("list", "after"): text("the page's `next`"),
    ("load", "verify"): word("always", "once", "never", "outputs"),
    ("replay", "model"): module,
    ("restore", "ref"): reference_or_several,
    ("resume", "model"): module,
    ("rm", "ref"): reference_or_several,
}
"""Where one verb takes something else, and what the callbacks take."""

ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "alias": ("aliases", "give aliases='best'"),
    "dtype": ("cast", "give cast=torch.bfloat16"),
    "from_ddp": ("from_", "give from_='ddp'"),
    "from_single": ("from_", "give from_='single'"),
    "map_location": ("device", "give device='cuda:0'"),
    "metadata": ("metrics", "give metrics={'acc': 0.92}, note='...' and aliases=['best']"),
    "metric": ("query", "it is a part of the query: list('pointnet acc>=0.9')"),
    "name": ("query", "it is a part of the query: list('pointnet acc>=0.9')"),
    "strict": ("allow_missing", "name what may differ: allow_missing=['head.*'], allow_unexpected=['head.*']"),
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

    near = difflib.get_close_matches(unknown, parameters, 1)
    return f"did you mean {near[0]}?" if near else f"it takes ({', '.join(parameters)})"
