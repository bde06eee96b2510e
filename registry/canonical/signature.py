"""What a tensor is to the registry: its name, dtype, shape and digest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from blake3 import blake3

ITEM_SIZES: Mapping[str, int] = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "float8_e8m0fnu": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1,
    "uint16": 2,
    "int16": 2,
    "float16": 2,
    "bfloat16": 2,
    "uint32": 4,
    "int32": 4,
    "float32": 4,
    "uint64": 8,
    "int64": 8,
    "float64": 8,
    "complex64": 8,
}
"""Bytes an element, for every dtype that can be stored; the names are torch's."""


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


def weights_digest(tensors: Iterable[tuple[str, TensorSpec, str]]) -> str:
    """Digest a whole set of weights, from (name, spec, hexadecimal tensor digest) in any order.

    It is taken over the sorted names, so it does not depend on how or in which order the weights were saved.
    """
    digest = blake3()
    for name, spec, tensor in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{len(name.encode())}:{name}:{spec.dtype}{list(spec.shape)}:{tensor}\n".encode())
    return digest.hexdigest()
