"""What a tensor is to the registry: its name, dtype, shape and digest."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter

from blake3 import blake3

from registry.tensors.dtypes import ITEM_SIZES

_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_digest(text: object) -> bool:
    """Whether something is a digest: 64 hexadecimal digits, in lower case."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def check_digest(text: str) -> str:
    """Return a digest.

    Raises:
        ValueError: it is none.
    """
    if not is_digest(text):
        raise ValueError("a name that is not a digest")
    return text


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor without its values: torch's dtype name (``"float32"``) and shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * ITEM_SIZES[self.dtype]

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


Signature = Mapping[str, TensorSpec]
"""Names to specs, in the order of the state dict."""


def tensor_hasher(spec: TensorSpec, threads: int = 1) -> blake3:
    """Return a hasher that has read the dtype and shape; feed it the C-contiguous little-endian bytes.

    The dtype and shape are part of the digest, so that equal bytes of another type are another tensor.
    """
    return blake3(f"{spec.dtype}{list(spec.shape)}\0".encode(), max_threads=threads)


def tensor_digest(spec: TensorSpec, content: memoryview | Iterable[memoryview]) -> str:
    """Return the hexadecimal digest of a tensor, from its bytes in one piece or in many."""
    hasher = tensor_hasher(spec)
    for piece in (content,) if isinstance(content, memoryview) else content:
        hasher.update(piece)
    return hasher.hexdigest()


def weights_digest(tensors: Iterable[tuple[str, TensorSpec, str]]) -> str:
    """Digest a whole set of weights, from (name, spec, hexadecimal tensor digest) in any order.

    It is taken over the sorted names, so it does not depend on how or in which order the weights were saved.
    """
    return digest_of_named((name, str(spec), tensor) for name, spec, tensor in tensors)


def digest_of_named(tensors: Iterable[tuple[str, str, str]]) -> str:
    """Digest a whole set of weights, from (name, spec as a text, hexadecimal tensor digest)."""
    lines = [
        f"{len(name.encode())}:{name}:{spec}:{tensor}\n" for name, spec, tensor in sorted(tensors, key=itemgetter(0))
    ]
    return blake3("".join(lines).encode()).hexdigest()
