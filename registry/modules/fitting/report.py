"""What a load did, in the words that the command line prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from registry.errors.root import few, shown
from registry.notebook import called, html_table


@dataclass(frozen=True)
class LoadReport:
    """Which tensors went into a module, and everything about them that is not plain."""

    model: str = ""
    """Name of the module's class."""
    ref: str = ""
    """Reference of the version; empty until the verb that resolved it fills it in."""
    digest: str = ""
    """Of the version's weights; likewise."""
    loaded: int = 0
    """Tensors and extra states of the module that came from the entry."""
    defaulted: tuple[str, ...] = ()
    """Counters of batch normalization that files from before torch 0.4.1 lack, set to 0."""
    missing: tuple[str, ...] = ()
    """Names that kept their initial value, as ``allow_missing`` said."""
    unexpected: tuple[str, ...] = ()
    """Names of the entry that were left out, as ``allow_unexpected`` said."""
    reshaped: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    """Names that kept their initial value, as ``allow_shape`` said: (shape in the entry, shape in the module)."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Names of the entry that the class's own loading reads as others of the module, to these."""
    dropped: tuple[str, ...] = ()
    """Names of the entry whose values the class's own loading puts under no name of the module as they are."""
    made: tuple[str, ...] = ()
    """Names of the module to which the class's own loading gives values that no tensor of the entry has."""
    not_used: tuple[str, ...] = ()
    """Values of wrappers, such as ``n_averaged``, that the module's own wrappers do not have."""
    cast: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name to (dtype in the entry, dtype in the module)."""
    tied: tuple[tuple[str, ...], ...] = ()
    """Names that are one tensor in the module."""
    untied: tuple[tuple[str, ...], ...] = ()
    """Names that were one tensor in the entry and are separate in the module; each has a copy of the values."""
    built: str = ""
    """``"fast"``, ``"plain"``, or empty for a module that the caller made."""
    reason: str = ""
    """Why it was not built fast."""
    device: str = ""
    """Where the tensors were moved to; empty if they were not."""
    notices: tuple[str, ...] = ()
    """What the verbs found worth saying, such as names that the class corrected."""
    verified: bool = False
    """Whether every byte was checked against its digest."""

    def __repr__(self) -> str:
        what = f"{self.ref or 'entry'} into {self.model or 'module'}:"
        differing = len(self.missing) + len(self.unexpected) + len(self.reshaped)
        allowed = f", {differing} allowed to differ" if differing else ""
        return called(self, what, f"{self.loaded} tensors, {'checked' if self.verified else 'not checked'}{allowed}")

    def _repr_html_(self) -> str:
        first, *rest = str(self).splitlines()
        return html_table(first, ("notices",), [(line,) for line in rest])

    def __str__(self) -> str:
        what = f"{self.ref or 'the entry'} into {self.model or 'the module'}"
        checked = "every byte checked" if self.verified else "bytes not checked"
        where = f", on {self.device}" if self.device else ""
        lines = [f"loaded {self.loaded} tensors of {what}{where}; {checked}", *self.notices]
        if self.built == "plain":
            lines.append(f"built with its initial values: {self.reason}")
        if self.defaulted:
            lines.append(f"set to 0, since files of old torch lack them: {few(self.defaulted, 3)}")
        if self.missing or self.unexpected or self.reshaped:
            reshaped = [
                f"{name} ({_by(got)} in the entry, {_by(want)} here)" for name, (got, want) in self.reshaped.items()
            ]
            parts = [
                f"kept at their initial value: {few(self.missing, 3)}" if self.missing else "",
                f"left out: {few(self.unexpected, 3)}" if self.unexpected else "",
                f"of another shape, so not loaded: {few(reshaped, 3)}" if reshaped else "",
            ]
            lines.append("allowed to differ: " + "; ".join(part for part in parts if part))
        lines += own_reading(self.renamed, self.dropped, self.made)
        if self.not_used:
            lines.append(f"not used: {few(self.not_used, 3)}")
        if self.cast:
            pairs = sorted({f"{source} to {target}" for source, target in self.cast.values()})
            lines.append(f"cast {len(self.cast)} tensors from {' and from '.join(pairs)}")
        if self.untied:
            groups = [" = ".join(group) for group in self.untied]
            lines.append(f"tied in the entry and separate in the class: {few(groups, 3)}")
        return "\n".join(map(shown, lines))


def own_reading(renamed: Mapping[str, str], dropped: Sequence[str], made: Sequence[str]) -> list[str]:
    """Word what a class's own loading does with the names of an entry; nothing where it does nothing."""
    pairs = [f"{name} is {new}" for name, new in renamed.items()]
    lines = [
        f"renamed by the class's own loading: {few(pairs, 3)}" if pairs else "",
        f"left out by the class's own loading: {few(dropped, 3)}" if dropped and not made else "",
        f"computed by the class's own loading: {few(made, 3)}" if made else "",
        f"used by the class's own loading, or left out: {few(dropped, 3)}" if dropped and made else "",
    ]
    return [line for line in lines if line]


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
