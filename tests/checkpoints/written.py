"""Files for the tests of reading: saved by torch, or built byte by byte as an attacker would."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

SAMPLES = Path(os.environ.get("REGISTRY_SAMPLES", Path(__file__).resolve().parents[3] / "shared"))
"""Published and made checkpoints that are not part of the repository; tests skip where they are absent."""


def needs(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (SAMPLES / folder).is_dir(), reason=f"no samples in {SAMPLES / folder}")


def values(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return b"" if plain.numel() == 0 else plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def saved(path: Path, value: object, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


def archive(path: Path, pickled: bytes, members: dict[str, bytes] | None = None) -> Path:
    """Write an archive as torch.save does, around any pickle."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, content in {"data.pkl": pickled, "byteorder": b"little", **(members or {}), "version": b"3"}.items():
            file.writestr(f"archive/{name}", content)
    return path


def same(source: Any, tensor: torch.Tensor) -> bool:
    """Whether what was read is that tensor: dtype, shape and bytes."""
    spec = source.spec
    return (
        f"torch.{spec.dtype}" == str(tensor.dtype)
        and spec.shape == tuple(tensor.shape)
        and bytes(source.buffer()) == values(tensor)
    )
