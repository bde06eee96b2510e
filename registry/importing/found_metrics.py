"""The metrics that a file says of itself: finite numbers under known words, and nothing else.

A key counts if every word in it is in one of two closed lists, and one of them says what was measured. Numbers are
taken where a training loop puts them: beside the weights, on the way to them, and in a table of metrics there. What a
model was constructed with or trained by (``num_classes``, ``lr``) is made of other words.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from registry.checkpoints.inventory import is_tensor
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.root import RegistryError
from registry.tensors.foreign import Array

_MEASURES = frozenset(
    (
        *("acc", "accuracy", "loss", "error", "err", "score", "metric", "fitness", "reward", "return"),
        *("epoch", "step", "iter", "iteration"),
        *("precision", "prec", "recall", "f1", "auc", "auroc", "roc", "ap", "map", "mar", "iou", "dice", "top"),
        *(
            "macc",
            "oa",
            "miou",
            "mae",
            "mse",
            "rmse",
            "mape",
            "psnr",
            "ssim",
            "lpips",
            "fid",
            "bleu",
            "rouge",
            "meteor",
        ),
        *("wer", "cer", "perplexity", "ppl", "nll", "elbo", "bpc", "bpb", "eer", "apcer", "bpcer", "acer", "hter"),
        *("tpr", "fpr", "tnr", "fnr", "mcc", "kappa", "pq", "mota", "nme", "epe", "chamfer", "emd", "ndcg", "mrr"),
    )
)
"""Words that say what was measured; ``acc1``, ``top5``, ``map50`` are these with a number."""
_OF_WHAT = frozenset(
    (
        *("best", "last", "current", "final", "min", "max", "mean", "avg", "average", "running", "global", "total"),
        *("val", "valid", "validation", "test", "testing", "train", "training", "eval", "evaluation", "dev"),
        *("model", "ema", "overall", "macro", "micro", "weighted", "balanced", "class", "instance", "at"),
        *("cls", "seg", "box", "mask", "bbox"),
    )
)
"""Words that say of what, when, or how it was taken together."""
_COUNTERS = frozenset(("epoch", "step", "iter", "iteration"))
_PLANNED = frozenset(("max", "min", "total"))
"""With one of these a counter says how long a training was to be: ``max_epoch``."""
_TABLES = frozenset(("metrics", "metric", "scores", "results", "stats", "logs", "losses", "performance"))
"""Words of the tables that metrics stand in."""
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*|[0-9]+")
_CAMEL = re.compile(r"(?<=[a-z]{2})(?=[A-Z][a-z])")
_LEGAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@%:+-]{0,127}")
"""What a metric of a version may be called."""
_DEEPEST = 3
_MOST = 100
"""Metrics of one file."""

_FORMATS: Mapping[str, str] = {
    "float64": "d",
    "float32": "f",
    "float16": "e",
    "bfloat16": "f",
    "int64": "q",
    "int32": "i",
    "int16": "h",
    "int8": "b",
    "uint8": "B",
}


def found_metrics(checkpoint: Checkpoint, weights: WeightSet) -> dict[str, float]:
    """Return the metrics in a checkpoint, by the keys that they have there; of two of one key, the outermost.

    One whose key no metric may have is left out: no checkpoint is refused for what it says of itself.

    Args:
        weights: the set that is stored; its tensors are no metrics, whatever they are called.
    """
    found: dict[str, float] = {}
    for level in _levels(checkpoint.contents, weights.key):
        for key, value in _metrics(level, whole=True):
            found.setdefault(key, value)
        for key, value in _of_callbacks(level):
            found.setdefault(key, value)
    # Where the weights are all of the file, numbers stand among them; a tensor there is the model's own.
    own = () if weights.key else [(key, value) for key, value in weights.values.items() if "." not in key]
    for key, value in (*own, *checkpoint.facts.items(), *checkpoint.training.items()):
        number = _number(value) if _is_measure(key) else None
        if number is not None:
            found.setdefault(key, number)
    legal = [(key, number) for key, number in found.items() if _LEGAL.fullmatch(key)]
    return dict(legal[:_MOST])


def _levels(contents: Any, key: str) -> Iterator[Mapping[Any, Any]]:
    """Yield the dicts on the way to the weights, without the weights."""
    level, steps = contents, key.split("/") if key else []
    for step in steps:
        if isinstance(level, Mapping):
            yield level
            level = level.get(step)
        elif isinstance(level, (list, tuple)) and step.isdecimal() and int(step) < len(level):
            level = level[int(step)]
        else:
            return


def _metrics(level: Mapping[Any, Any], *, whole: bool, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """Yield the metrics of a dict and of the tables in it.

    Args:
        whole: whether it stands beside the weights, and is no table: then only what is called one is.
    """
    for key, value in level.items():
        if not isinstance(key, str):
            continue
        if isinstance(value, Mapping):
            inner = _of_table(key, whole=whole)
            if inner is not None and depth < _DEEPEST:
                name = f"{prefix}{inner}_" if inner else prefix
                yield from _metrics(value, whole=False, prefix=name, depth=depth + 1)
        elif _is_measure(key):
            number = _number(value)
            if number is not None:
                yield f"{prefix}{key}", number


def _of_table(key: str, *, whole: bool) -> str | None:
    """Return what a table of metrics measures (``"val"``), an empty text where that is not said, None of no table."""
    words = _words(key)
    if not words or not all(word in _TABLES or word in _OF_WHAT for word in words):
        return None
    if whole and not any(word in _TABLES for word in words):
        return None
    return "_".join(word for word in words if word not in _TABLES)


def _of_callbacks(level: Mapping[Any, Any]) -> Iterator[tuple[str, float]]:
    """Yield the best score that Lightning's callbacks kept; of several that differ, each with what it monitored."""
    callbacks = level.get("callbacks")
    states = callbacks.values() if isinstance(callbacks, Mapping) else ()
    scores: dict[str, float] = {}
    for state in states:
        number = _number(state.get("best_model_score")) if isinstance(state, Mapping) else None
        if number is not None:
            monitor = state.get("monitor")
            scores.setdefault(monitor if isinstance(monitor, str) else "", number)
    if len(set(scores.values())) == 1:
        yield "best_model_score", next(iter(scores.values()))
        return
    for monitor, number in scores.items():
        yield f"best_model_score/{monitor}" if monitor else "best_model_score", number


def _is_measure(key: str) -> bool:
    words = {*_words(key)}
    measured = words & _MEASURES
    return bool(measured) and words <= _MEASURES | _OF_WHAT and not (words & _PLANNED and measured <= _COUNTERS)


def _words(key: str) -> list[str]:
    """Return the words of a key in lower case, without the numbers at their ends: ``acc`` of ``acc1``."""
    words = [word.lower() for part in _CAMEL.split(key[:200]) for word in _WORD.findall(part)]
    return [word if word in _MEASURES else word.rstrip("0123456789") for word in words if word[0].isalpha()]


def _number(value: Any) -> float | None:
    """Return a finite number: plain, of numpy, or a tensor without dimensions."""
    plain: Any = getattr(value, "plain", value)
    if is_tensor(plain) or isinstance(plain, Array):
        plain = _inside(plain)
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        return None
    try:
        number = float(plain)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _inside(value: Any) -> float | int | None:
    """Return the one number in a tensor or an array without dimensions."""
    spec = getattr(value, "spec", None)
    if spec is None or spec.shape != () or spec.dtype not in _FORMATS:
        return None
    try:
        content = value.data if isinstance(value, Array) else bytes(value.buffer())
    except RegistryError:
        return None
    if spec.dtype == "bfloat16":  # the upper half of a float32
        content = b"\0\0" + content
    number: float | int = struct.unpack("<" + _FORMATS[spec.dtype], content)[0]
    return number
