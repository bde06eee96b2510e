"""Pieces of a blob that come in, while others come in or it is given up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from registry import Registry
from registry.blobs.backends.local import LocalStore
from registry.blobs.uploads import Upload, Uploads
from registry.client.objects import tensors_of
from registry.errors.client import UploadElsewhere, UploadGone


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    hub = Registry(tmp_path / "elsewhere")
    hub.push({"weight": torch.randn(1000), "bias": torch.randn(10)}, "net", from_="single")
    [path] = hub.home.glob("blobs/*/*.safetensors")
    return path


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    (tmp_path / "home" / "running").mkdir(parents=True)
    return Uploads(LocalStore(tmp_path / "home"))


def begun(uploads: Uploads, blob: Path) -> Upload:
    return uploads.begin(blob.stem, blob.stat().st_size, tensors_of(blob, blob.stem))


def left(tmp_path: Path) -> list[str]:
    """What lies in the home."""
    return sorted(path.name for path in (tmp_path / "home").rglob("*") if path.is_file())


def test_what_is_given_up_while_its_last_piece_comes_is_no_blob(uploads: Uploads, blob: Path, tmp_path: Path) -> None:
    upload, content = begun(uploads, blob), memoryview(blob.read_bytes())
    with pytest.raises(UploadGone), uploads.piece(upload, 0) as piece:
        piece.write(content[:-1])
        uploads.end(upload)
        for _ in range(2):  # another piece takes neither the place of this one nor its name
            with pytest.raises((UploadGone, UploadElsewhere)), uploads.piece(upload, 0, 0):
                raise AssertionError("two pieces at once")
        piece.write(content[-1:])
    assert left(tmp_path) == []


def test_only_one_piece_comes_in_at_a_time(uploads: Uploads, blob: Path, tmp_path: Path) -> None:
    upload, content = begun(uploads, blob), memoryview(blob.read_bytes())
    with uploads.piece(upload, 0) as piece:
        piece.write(content[:100])
        with pytest.raises(UploadElsewhere), uploads.piece(upload, 0):
            raise AssertionError("two pieces at once")
    assert uploads.find(upload.id).received == 100
    with uploads.piece(upload, 100, len(content) - 100) as piece:
        piece.write(content[100:])
    assert (tmp_path / "home" / "blobs" / blob.stem[:2] / blob.name).read_bytes() == content
    with pytest.raises(UploadElsewhere), uploads.piece(upload, 0, 0):
        raise AssertionError("it is whole")
    uploads.end(upload)
    assert left(tmp_path) == sorted([blob.name, f"{blob.stem}.json"])


def test_what_is_given_up_between_its_pieces_leaves_nothing(uploads: Uploads, blob: Path, tmp_path: Path) -> None:
    upload = begun(uploads, blob)
    with uploads.piece(upload, 0) as piece:
        piece.write(memoryview(blob.read_bytes())[:100])
    uploads.end(upload)
    assert left(tmp_path) == []
    with pytest.raises(UploadGone), uploads.piece(upload, 100):
        raise AssertionError("it is gone")
    assert left(tmp_path) == []
