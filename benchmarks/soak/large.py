"""One large checkpoint, and one a quarter as large: what is done with it takes four times as long, and no memory."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import children
from benchmarks.children import PeakMemory
from benchmarks.pushing import copy_durably
from registry import Registry

_TENSOR = 64 << 20
_PIECE = 1 << 20
_MOST_MEMORY = 96 << 20
"""Bytes: what is imported on the way, and the buffers between reading, hashing and writing."""
_MOST_TIMES = 3.0
"""How much longer a byte may take in the large one. A disk that others use too changes its speed within seconds."""
_WRITING = frozenset({"push", "copy", "export"})
"""What waits for the disk: it is measured by ``cp`` and ``fsync`` of the same file, right before and right after. The
others find what they read in the page cache."""

Say = Callable[[str], None]


def run(folder: Path, *, gigabytes: float, say: Say) -> list[str]:
    """Do it, and return what is not as it should be."""
    faults: list[str] = []
    pace: dict[str, list[float]] = {}
    for share in (0.25, 1.0):
        nbytes = max(_TENSOR, round(gigabytes * share * 1e9) // _TENSOR * _TENSOR)
        write(folder / "large.safetensors", nbytes)
        before = _copied(folder)
        for verb in ("push", "load", "copy", "export", "audit"):
            if verb not in _WRITING:
                _warm(folder / "home")
            done = children.result(children.start(f"benchmarks.soak.large:{verb}", folder=str(folder)))
            seconds, peak = done["seconds"], done["peak"]
            what, took = f"{verb} of {nbytes / 1e9:.2f} GB", f"{seconds:.2f} s, {nbytes / 1e9 / seconds:.2f} GB/s"
            measure = float(nbytes)
            if verb in _WRITING:
                after = _copied(folder)
                measure = (before + after) / 2
                before = after
                took += f", {seconds / measure:.2f} times cp and fsync before and after it ({measure:.2f} s)"
            pace.setdefault(verb, []).append(seconds / measure)
            say(f"{what}: {took}, {peak / 1e6:.1f} MB of memory, load {os.getloadavg()[0]:.1f}")
            if peak > _MOST_MEMORY:
                faults.append(f"{what} took {peak >> 20} MiB of memory")
        for name in ("home", "there", "out.safetensors"):
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for verb, (small, large) in pace.items():
        by = ", measured by cp and fsync" if verb in _WRITING else ""
        say(f"{verb}: a byte takes {large / small:.2f} times as long in the large one{by}")
        if large > _MOST_TIMES * small:
            faults.append(f"{verb} takes {large / small:.1f} times as long for each byte of the large one{by}")
    return faults


def _copied(folder: Path) -> float:
    target = folder / "copied"
    begin = time.perf_counter()
    copy_durably(folder / "large.safetensors", target)
    seconds = time.perf_counter() - begin
    target.unlink()
    return seconds


def _warm(home: Path) -> None:
    """Have the blobs in the page cache, whatever was written since."""
    for blob in home.glob("blobs/*/*.safetensors"):
        with blob.open("rb", buffering=0) as file:
            while file.read(_PIECE):
                pass


def write(path: Path, nbytes: int) -> None:
    """Write a file of weights, tensor by tensor."""
    count = nbytes // _TENSOR
    head = json.dumps(
        {
            f"layer{number:04}.weight": {
                "dtype": "F32",
                "shape": [_TENSOR >> 14, 1 << 12],
                "data_offsets": [number * _TENSOR, (number + 1) * _TENSOR],
            }
            for number in range(count)
        }
    ).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for _ in range(count):
            file.write(os.urandom(_PIECE) * (_TENSOR // _PIECE))
        file.flush()
        os.fsync(file.fileno())


def push(folder: str) -> dict[str, float]:
    """Push it."""
    place = Path(folder)
    hub = Registry(place / "home")
    return _measured(lambda: hub.push(place / "large.safetensors", "large", from_="single"))


def load(folder: str) -> dict[str, float]:
    """Load it, every byte checked."""
    hub = Registry(Path(folder) / "home")
    return _measured(lambda: hub.state_dict("large"))


def copy(folder: str) -> dict[str, float]:
    """Copy it into another home."""
    hub = Registry(Path(folder) / "home")
    return _measured(lambda: hub.copy(None, Path(folder) / "there"))


def export(folder: str) -> dict[str, float]:
    """Write it as one file."""
    hub = Registry(Path(folder) / "home")
    return _measured(lambda: hub.export("large", Path(folder) / "out.safetensors"))


def audit(folder: str) -> dict[str, float]:
    """Look at every byte.

    Raises:
        RuntimeError: one is not what was pushed.
    """
    hub = Registry(Path(folder) / "home")

    def look() -> None:
        if not hub.audit().is_clean:
            raise RuntimeError("the audit found damage")

    return _measured(look)


def _measured(action: Callable[[], object]) -> dict[str, float]:
    importlib.import_module("torch")  # which is large, and no part of the verb
    begin = time.perf_counter()
    with PeakMemory() as memory:
        action()
    return {"seconds": time.perf_counter() - begin, "peak": memory.nbytes}
