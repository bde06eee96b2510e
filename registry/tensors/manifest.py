"""Where the tensors of one version are, and what a safetensors file alone would lose of them."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from registry.tensors.paths import below, path_below
from registry.tensors.spec import TensorSpec, digest_of_named, weights_digest
from registry.tensors.wrapper_value import WrapperValue


@dataclass(frozen=True, slots=True)
class Location:
    """A tensor's bytes in the store."""

    blob: str
    """Digest of the blob that holds them."""
    offset: int
    """Bytes from the beginning of the blob's file."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a version: what it is, what it hashes to, where it lies."""

    spec: TensorSpec
    digest: str
    location: Location

    def __hash__(self) -> int:
        return hash(self.digest)


@dataclass(frozen=True, slots=True)
class BlobRecord:
    """A blob that was written."""

    digest: str
    nbytes: int


@dataclass(frozen=True)
class Manifest:
    """All that ``load`` and ``state_dict`` need to give back one version's weights."""

    tensors: Mapping[str, StoredTensor]
    """By canonical name, in the order of the state dict."""
    ties: tuple[tuple[str, ...], ...] = ()
    """Groups of names that were one tensor when they were saved."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Entries that are no tensors, encoded by ``registry.tensors.encoding``."""
    metadata: Mapping[str, Mapping[str, Any]] | None = None
    """The state dict's ``_metadata``, under canonical module paths."""
    wrappers: tuple[WrapperValue, ...] = ()
    """What the wrappers own (``n_averaged``); no part of the model, and so not in the digest of its weights."""

    @cached_property
    def weights_digest(self) -> str:
        return weights_digest((name, t.spec, t.digest) for name, t in self.tensors.items())

    @property
    def blobs(self) -> set[str]:
        """Digests of the blobs that it needs."""
        return {t.location.blob for t in self.tensors.values()}

    def by_blob(self) -> dict[str, dict[str, StoredTensor]]:
        """Return the tensors by name, for each blob that it needs."""
        found: dict[str, dict[str, StoredTensor]] = {}
        for name, stored in self.tensors.items():
            found.setdefault(stored.location.blob, {})[name] = stored
        return found

    def counts(self) -> dict[str, Any]:
        """Return how much there is, in the words of a version's facts; a tied tensor is counted once."""
        again = {name for group in self.ties for name in group[1:]}
        counted = [tensor.spec for name, tensor in self.tensors.items() if name not in again]
        return {
            "tensor_count": len(self.tensors),
            "parameter_count": sum(spec.numel for spec in counted),
            "byte_count": sum(spec.nbytes for spec in counted),
            "dtypes": Counter(tensor.spec.dtype for tensor in self.tensors.values()),
        }

    def only(self, names: Collection[str]) -> Manifest:
        """Return the part of it that has these names, without values."""
        wanted = set(names)
        return Manifest({name: tensor for name, tensor in self.tensors.items() if name in wanted})

    def below(self, part: str) -> Manifest:
        """Return what one part of the model has of it, under the part's own names."""
        tensors = below(part, self.tensors)
        ties = (tuple(tensors[name] for name in tie if name in tensors) for tie in self.ties)
        modules = {path_below(part, path): facts for path, facts in (self.metadata or {}).items()}
        return Manifest(
            {own: self.tensors[name] for name, own in tensors.items()},
            tuple(tie for tie in ties if len(tie) > 1),
            {own: self.values[name] for name, own in below(part, self.values).items()},
            {path: facts for path, facts in modules.items() if path is not None} or None,
            tuple(own for value in self.wrappers if (own := value.below(part)) is not None),
        )

    def relocated(self, places: Mapping[str, Location]) -> Manifest:
        """Return it with the tensors where they now lie, by digest; of one that is not among these, where it lay."""
        moved = {
            name: replace(stored, location=places.get(stored.digest, stored.location))
            for name, stored in self.tensors.items()
        }
        return replace(self, tensors=moved)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it, the blobs that it names first."""
        blobs = sorted(self.blobs)
        number = {blob: i for i, blob in enumerate(blobs)}
        return {
            "blobs": blobs,
            "tensors": [
                [name, t.spec.dtype, list(t.spec.shape), t.digest, number[t.location.blob], t.location.offset]
                for name, t in self.tensors.items()
            ],
            "ties": [list(group) for group in self.ties],
            "values": self.values,
            "metadata": self.metadata,
            **({"wrappers": [value.to_json() for value in self.wrappers]} if self.wrappers else {}),
        }

    def encode(self) -> bytes:
        """Return the stored form: deflated JSON with sorted keys at each level but the tensors' own order."""
        return zlib.compress(json.dumps(self.to_json(), separators=(",", ":"), ensure_ascii=False).encode(), 1)

    @classmethod
    def decode(cls, body: bytes) -> Manifest:
        """Read the stored form back.

        Raises:
            ValueError: the bytes are no manifest.
        """
        try:
            plain = zlib.decompress(body)
        except (zlib.error, TypeError) as error:  # in an edited row there may be a text
            raise ValueError(f"not a manifest: {error}") from error
        return cls.from_json(json.loads(plain))

    @classmethod
    def from_json(cls, raw: Any) -> Manifest:
        """Read it back from what JSON has of it.

        Raises:
            ValueError: that is no manifest.
        """
        try:
            blobs: list[str] = raw["blobs"]
            if any(offset < 0 for *_, offset in raw["tensors"]):
                raise ValueError("not a manifest: a tensor lies before its file")
            return cls(
                tensors={
                    name: StoredTensor(TensorSpec(dtype, tuple(shape)), digest, Location(blobs[blob], offset))
                    for name, dtype, shape, digest, blob, offset in raw["tensors"]
                },
                ties=tuple(tuple(group) for group in raw["ties"]),
                values=raw["values"],
                metadata=raw["metadata"],
                wrappers=tuple(WrapperValue.from_json(value) for value in raw.get("wrappers", ())),
            )
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"not a manifest: {error}") from error


def digests_of(body: bytes) -> tuple[dict[str, str], str]:
    """Return the digests of a stored manifest's tensors by name, and of the weights: all that two are compared by.

    Raises:
        ValueError: the bytes are no manifest.
    """
    try:
        tensors = json.loads(zlib.decompress(body))["tensors"]
        digests = {name: digest for name, _, _, digest, _, _ in tensors}
        return digests, digest_of_named((name, f"{dtype}{shape}", digest) for name, dtype, shape, digest, *_ in tensors)
    except (zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"not a manifest: {error}") from error


def blobs_named(body: bytes) -> frozenset[str]:
    """Return the blobs that a stored manifest names, without reading the rest of it; none if it is no manifest.

    They stand at its beginning.
    """
    try:
        for length in (1 << 12, 0):
            text = zlib.decompressobj().decompress(body, length).decode(errors="ignore")
            try:
                if text.startswith(_BLOBS):
                    found, _ = json.JSONDecoder().raw_decode(text, len(_BLOBS))
                else:
                    found = json.loads(text)["blobs"]
                return frozenset(blob for blob in found if isinstance(blob, str))
            except ValueError:
                continue
    except (zlib.error, ValueError, TypeError, KeyError, RecursionError):
        pass
    return frozenset()


_BLOBS = '{"blobs":'
