"""Errors of keeping order: what stays and what goes, and where tensors come from."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.canonical import some
from registry.errors.root import RegistryError


class NoRule(RegistryError):
    """Nothing was said of what to keep."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no rule says which versions of {name} to keep; give at least one, such as --keep-last 5 or "
            "--keep-best acc:3 (in Python keep_last=5, keep_best=['acc:3'])"
        )


class InvalidRule(RegistryError, ValueError):
    """A rule about the best versions cannot be read."""

    def __init__(self, rule: str) -> None:
        super().__init__(
            f"'{rule}' is not a valid rule; write METRIC:NUMBER, such as acc:3 for the three highest, or "
            "METRIC:NUMBER:min, such as loss:3:min for the three lowest"
        )


class UnknownMetric(RegistryError):
    """No version has the metric that is to decide."""

    def __init__(self, name: str, metric: str, known: Sequence[str]) -> None:
        has = f"they have {some(list(known))}" if known else "they have no metrics at all"
        super().__init__(f"no version of {name} has the metric '{metric}', so none can be the best by it; {has}")


class UnknownTag(RegistryError):
    """No version has the tag by which alone versions are to be kept."""

    def __init__(self, name: str, tag: str, known: Sequence[str]) -> None:
        has = f"they have {some(list(known))}" if known else "they have no tags at all"
        super().__init__(
            f"no version of {name} has the tag '{tag}', so none would be kept by it; {has}; give a tag that one has, "
            "or another rule beside it, such as --keep-last 5"
        )


class MonitorNeedsMode(RegistryError, ValueError):
    """A metric was named in Lightning's words, without the direction, of which its default is another than ours."""

    def __init__(self, monitor: str) -> None:
        super().__init__(
            f"monitor='{monitor}' needs mode='max' or mode='min': without it Lightning takes min, and best_by takes max"
        )


class TwoSettings(RegistryError, ValueError):
    """One thing was said twice, and differently."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second} say the same thing differently; give one of them")


class NothingKept(RegistryError, ValueError):
    """A setting of a callback would store versions and keep none."""

    def __init__(self) -> None:
        super().__init__(
            "save_top_k=0 stores nothing; leave the callback out, or give how many versions to keep (-1 keeps all)"
        )


class TopNeedsMetric(RegistryError, ValueError):
    """A callback is to keep the best versions, and nothing says by what."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"save_top_k={count} does not say by which metric; give monitor='val_acc' and mode='max', or "
            f"keep_last={count} for the newest"
        )


class PandasMissing(RegistryError, ImportError):
    """A data frame was asked for, and pandas is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "to_frame() needs pandas, which is not installed here; pip install pandas, or checkpoint-registry[pandas]"
        )


class NothingToBlame(RegistryError):
    """No tensor of a version has such a name."""

    def __init__(self, ref: str, pattern: str, known: Sequence[str]) -> None:
        super().__init__(
            f"no tensor of {ref} matches '{pattern}'; its tensors are {some(known)}, and a pattern such as 'encoder.*' "
            "matches all names that begin so"
        )
