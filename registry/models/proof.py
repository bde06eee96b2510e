"""What a push found out about building a class fast, and whether that still holds when a version is loaded."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from blake3 import blake3

from registry.models.build import Built, Probe, build, probe
from registry.models.specification import ModelSpec


@dataclass(frozen=True)
class Proof:
    """The outcome of a probe, and the circumstances in which it was true."""

    fast: bool
    reason: str
    """Why not; empty if it is."""
    torch: str
    """Version of torch."""
    source: str
    """Digest of the file that defines the class; empty where there is none."""

    def encode(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def decode(cls, body: bytes) -> Proof:
        return cls(**json.loads(body))


def prove(spec: ModelSpec, probed: Probe) -> Proof:
    """Return what a probe found, as it is kept with a version."""
    return Proof(probed.fast_is_safe, probed.reason, torch.__version__, _source_digest(spec))


def build_by(spec: ModelSpec, proof: Proof | None) -> Built:
    """Build a class in the fastest way that is proved to give what the plain way gives.

    A proof counts for the torch and the source file that it was made with; without one that counts the class is
    probed now, which costs a second build where its constructor draws random numbers.

    Raises:
        ModelError: the class cannot be imported, refuses its arguments, raises, or is no model.
    """
    if proof is not None and (proof.torch, proof.source) == (torch.__version__, _source_digest(spec)):
        return build(spec, fast=proof.fast, reason=proof.reason)
    probed = probe(spec)
    if probed.fast_is_safe:
        return Built(spec, probed.module, True, "")
    # The probe's own plain module was built from a fixed seed; what it drew must be this process's own draw.
    return build(spec, fast=False, reason=probed.reason)


def _source_digest(spec: ModelSpec) -> str:
    file = getattr(sys.modules.get(getattr(spec.constructor, "__module__", "")), "__file__", None)
    try:
        return blake3(Path(file).read_bytes()).hexdigest() if file else ""
    except OSError:
        return ""
