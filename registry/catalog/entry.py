"""A version as the user sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from registry.catalog.facts import Facts, Identity, Origin
from registry.notebook import called, figures, html_facts, words


@dataclass(frozen=True, kw_only=True)
class Entry(Facts):
    """One immutable version of a model, with everything that is known of it but its bytes."""

    name: str
    version: int
    digest: str
    """Of the canonical weights: equal however the file was saved."""
    record_digest: str
    """Of all that decides what is loaded: weights, ties, extra state, unwrapping, class, constructor arguments."""
    seal: str
    """Of name, number and record: what the catalog says of them together."""
    uid: str
    """Of the model: what it is in every home, whatever it is called there."""
    sealed_as: str
    """The model's name when the version was made."""
    former_names: tuple[str, ...] = ()
    """What the model was called before; by these it is found still."""
    metrics: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[str, ...] = ()
    """What is kept beside the weights: ``"training"``, ``"example"``, ``"config"``."""
    aliases: tuple[str, ...]
    created_at: datetime
    """In UTC."""
    trashed_at: datetime | None = None
    reused: bool = False
    """Set on what ``push`` returns when the name already had these weights."""
    notices: tuple[str, ...] = ()
    """What there is to say besides: on what ``push`` returns of the file, such as objects in it that were not read; of
    a version that was there already, which metrics and tags were changed; and that its model has another name now."""

    def __hash__(self) -> int:
        return hash((self.uid, self.version, self.seal))

    def __repr__(self) -> str:
        aliases = f"({', '.join(self.aliases)})" if self.aliases else ""
        state = "in the trash" if self.trashed_at is not None else ""
        return called(self, self.ref, self.digest[:12], figures(self.metrics), aliases, state)

    def __str__(self) -> str:
        return self.ref

    def _repr_html_(self) -> str:
        facts = {
            "digest": self.digest,
            "aliases": ", ".join(self.aliases),
            "metrics": figures(self.metrics),
            "tags": words(self.tags),
            "class": self.model_class or "",
            "parts": ", ".join(f"{part.part}: {part.model_class or 'not known'}" for part in self.parts),
            "wrapper": self.wrapper,
            "tensors": f"{self.tensor_count:,}, {self.parameter_count:,} elements, {self.byte_count:,} bytes",
            "kept with it": ", ".join(self.attachments),
            "epoch": self.epoch,
            "step": self.step,
            "parent": self.parent,
            "source": self.source_name,
            "pushed": f"{self.created_at:%Y-%m-%d %H:%M} UTC by {self.creator}",
            "note": self.note,
        }
        return html_facts(self.ref, facts)

    @property
    def source_sha256(self) -> str | None:
        """The SHA-256 of the file, of a version whose source was digested by that."""
        function, _, digest = (self.source_digest or "").partition(":")
        return digest if function == "sha256" else None

    @property
    def ref(self) -> str:
        return f"{self.name}:v{self.version}"

    @property
    def identity(self) -> Identity:
        """Which version it is, in every home: of a copied one, what its first home called it."""
        origin = Origin.decode(self.origin)
        return origin.identity if origin is not None else Identity(self.uid, self.version, self.record_digest)
