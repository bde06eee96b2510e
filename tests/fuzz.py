"""Mutate real checkpoints and read them: each is a checkpoint or a clear refusal, and nothing in it runs.

    python tests/fuzz.py --minutes 60 [--seed 1]

prints what it did, and for each failure the file that it kept. ``tests/checkpoints/test_fuzz.py`` runs some in CI.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import resource
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from registry.checkpoints.opening import open_checkpoint
from registry.errors import RegistryError

SLOWEST = 20.0
"""Seconds that a file of some kilobytes may take on a busy machine."""

FIRED = Path(tempfile.gettempdir()) / f"registry-fuzz-canary-{os.getpid()}"
_CALL = f"cposix\nsystem\n(S'touch {FIRED}'\ntR".encode()
TOKENS = (
    *(bytes([code]) for code in b"(.0125BCFGIJKLMNPQRSTUVX]abcdeghijloprstuq})\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89"
      b"\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98"),
    _CALL,
    _CALL + b"b",
    b"cposix\nsystem\n",
    b"\x8c\x05posix\x8c\x06system\x93",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"ccollections\nOrderedDict\n",
    b"\xff\xff\xff\x7f", b"\xff" * 8, bytes(8), b"\x00\x00\x00\x80",
)  # fmt: skip


def seeds() -> dict[str, bytes]:
    """Small files of each format, with all that torch writes."""
    base = torch.arange(24.0).reshape(4, 6)
    value = {
        "state_dict": OrderedDict(a=base, b=base, t=base.T, h=base.half(), n=torch.nn.Parameter(base[1:2].clone())),
        "optimizer": {"state": {0: {"step": torch.tensor(1.0), "avg": base.clone()}}, "param_groups": [{"lr": 0.1}]},
        "args": argparse.Namespace(x=[1, 2.5, None, "text", (b"raw", {3})]),
        "epoch": 3,
    }
    files = {}
    old: dict[str, Any] = {"_use_new_zipfile_serialization": False}
    for name, options in {"zip": {}, "zip4": {"pickle_protocol": 4}, "legacy": old}.items():
        out = io.BytesIO()
        torch.save(value, out, **options)
        files[name] = out.getvalue()
    return {**files, "safetensors": save({"a": base, "b": base.half(), "c": base[0].long()}, {"b2": "b"})}


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Return a file with some of its bytes changed, removed, repeated or replaced by what a reader acts on."""
    if content[:4] == b"PK\x03\x04" and draw.random() < 0.7:
        return _archive_with_other_members(content, draw)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        content = _edited(content, draw)
    return content


def _edited(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) + 1)
    if draw.random() < 0.5:
        at = min(at, draw.choice((16, 128, 1024)))
    length = draw.choice((0, 1, 1, 2, 4, 8, 32))
    new = draw.choice((
        lambda: draw.randbytes(length),
        lambda: draw.choice(TOKENS),
        lambda: content[(other := draw.randrange(len(content) + 1)) : other + draw.choice((8, 64, 512))],
        lambda: struct.pack("<Q", draw.choice((0, 1, len(content), 1 << 31, 1 << 62, (1 << 64) - 1))),
        lambda: b"",
    ))()  # fmt: skip
    return content[:at] + new + content[at + draw.choice((0, length, len(new))) :]


def _archive_with_other_members(content: bytes, draw: random.Random) -> bytes:
    """Change a member and give it the right CRC, so that what is behind the archive's checks is reached."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        chosen = draw.choice([name for name in old.namelist() if name.endswith(("data.pkl", "data.pkl", "byteorder"))])
        for name in old.namelist():
            body = old.read(name)
            if name == chosen:
                for _ in range(draw.choice((1, 2, 8))):
                    body = _edited(body, draw)
            new.writestr(name, body)
    return out.getvalue()


def outcome(path: Path) -> str:
    """Read a file wholly; return ``read`` or the name of the refusal.

    Raises:
        AssertionError: it took too long, or something in it ran.
        Exception: what no reader of strangers' files may raise.
    """
    began = time.monotonic()
    try:
        checkpoint = open_checkpoint(path)
        for weights in checkpoint.weight_sets:
            for tensor in weights.tensors.values():
                assert len(tensor.buffer()) == tensor.spec.nbytes, "a tensor has another size than it says"
        result = "read"
    except RegistryError as refusal:
        assert str(refusal).strip() and "\n\n" not in str(refusal), "a refusal without a sentence"
        result = type(refusal).__name__
    assert time.monotonic() - began < SLOWEST, "reading takes too long"
    assert not FIRED.exists(), "something in the file was run"
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
    draw, files = random.Random(options.seed), seeds()
    counts: Counter[str] = Counter()
    ends = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.pth"
        while time.monotonic() < ends:
            content = mutated(files[draw.choice(sorted(files))], draw)
            path.write_bytes(content)
            try:
                counts[outcome(path)] += 1
            except Exception as failure:  # the one place where any failure is wanted
                counts["FAILED"] += 1
                kept = Path(tempfile.gettempdir()) / f"registry-fuzz-{zlib.crc32(content):08x}.pth"
                kept.write_bytes(content)
                FIRED.unlink(missing_ok=True)
                print(f"{type(failure).__name__}: {failure} ({kept})", flush=True)
    print(f"{sum(counts.values())} files: {dict(counts.most_common())}")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB at most")
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
