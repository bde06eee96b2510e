"""Mutate real bundles and take them in: each is taken whole or refused, and a refused one changes nothing.

    python tests/copying/fuzz_bundles.py --minutes 60 [--seed 1]

prints what it did, and for each failure the file that it kept. ``test_fuzzed_bundles.py`` runs some in CI.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from forging import Forgery
from fuzz import FIRED, SLOWEST, mutated
from samples import files, push, trained

from registry import Registry
from registry.errors import RegistryError

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, "", "x", "v1", "../x", "a/b", "\0"),
    *("\ud800", "\x1b[2J", "0" * 64, "0" * 32, "net", "trained", "os:system", "2026-11-26T00:00:00.000000+00:00"),
    *(
        [],
        {},
        [[]],
        [None],
        {"": None},
        {"$": "tuple", "v": 3},
        {"$": "tensor", "v": "x"},
        [1, 2, 3],
        "{}",
        "[]",
        "null",
    ),
)


def seed(folder: Path) -> bytes:
    """Return a bundle of versions with parents, tags, a job's state, an example, and a history of two homes."""
    first, second = Registry(folder / "first"), Registry(folder / "second")
    push(first, 1, tags={"task": "seg"}, aliases=["best"])
    push(first, 2, parent="net:v1")
    trained(first)
    first.copy(None, second.home)
    second.alias("net:v1", "old")
    second.copy(None, folder / "seed.bundle")
    first.close()
    second.close()
    return (folder / "seed.bundle").read_bytes()


def mutant(content: bytes, draw: random.Random, path: Path) -> bytes:
    """Return a bundle with some of it changed: its bytes; or of a document, under digests that are right for it."""
    if draw.random() < 0.15:
        return mutated(content, draw)
    path.write_bytes(content)
    forgery = Forgery.of(path)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = draw.randrange(len(forgery.versions))
        chance = draw.random()
        if chance < 0.7:
            _change(forgery.versions[at], draw)
        elif chance < 0.8:
            forgery.texts[at] = mutated(json.dumps(forgery.versions[at]).encode(), draw)
        elif chance < 0.9:
            digest = draw.choice(sorted(forgery.blobs))
            forgery.blobs[digest] = mutated(forgery.blobs[digest], draw)
        else:
            _change(forgery.index, draw)
    return forgery.bytes()


def _change(value: Any, draw: random.Random) -> None:
    """Put something odd, or something from elsewhere in the document, in a place of it."""
    places: list[tuple[Any, Any]] = []

    def walk(inside: Any) -> None:
        for key in inside if isinstance(inside, dict) else range(len(inside)):
            places.append((inside, key))
            if isinstance(inside[key], (dict, list)):
                walk(inside[key])

    walk(value)
    inside, key = draw.choice(places)
    what = draw.random()
    if what < 0.5:
        inside[key] = draw.choice(ODD)
    elif what < 0.7:
        other, name = draw.choice(places)
        inside[key] = json.loads(json.dumps(other[name]))
    elif what < 0.85:
        del inside[key]
    elif isinstance(inside, list):
        inside.insert(key, draw.choice(ODD))
    else:
        inside[draw.choice(["x", "", "name", "from"])] = draw.choice(ODD)


def outcome(path: Path, home: Path, before: dict[str, bytes]) -> str:
    """Take a bundle into a home; return ``taken`` or the name of the refusal.

    Raises:
        AssertionError: it took too long, was taken and is not sound, or was refused and left something.
        Exception: what no reader of strangers' files may raise.
    """
    began = time.monotonic()
    hub = Registry(home)
    try:
        hub.copy(path)
    except RegistryError as refusal:
        assert str(refusal).strip() and "\n" not in str(refusal), "a refusal without a sentence"
        hub.close()
        assert files(home) == before, "a refused bundle left something"
        result = type(refusal).__name__
    else:
        report = hub.audit()
        assert report.is_clean, report.faults
        for entry in hub.list():
            hub.state_dict(entry.ref)
            assert repr(entry) and dict(entry.init) is not None
        assert hub.log()
        hub.close()
        result = "taken"
    assert time.monotonic() - began < SLOWEST, "it takes too long"
    assert not FIRED.exists(), "something in the file was run"
    return result


def fresh(home: Path) -> dict[str, bytes]:
    """Make a home with a version of its own, and return its files."""
    shutil.rmtree(home, ignore_errors=True)
    hub = Registry(home)
    push(hub, 9)
    hub.close()
    return files(home)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
    draw, counts = random.Random(options.seed), Counter[str]()
    ends = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content, path, home = seed(folder), folder / "mutant.bundle", folder / "home"
        before = fresh(home)
        while time.monotonic() < ends:
            body = mutant(content, draw, path)
            path.write_bytes(body)
            try:
                result = outcome(path, home, before)
            except Exception as failure:  # the one place where any failure is wanted
                result = "FAILED"
                kept = Path(tempfile.gettempdir()) / f"registry-fuzz-{zlib.crc32(body):08x}.bundle"
                kept.write_bytes(body)
                FIRED.unlink(missing_ok=True)
                print(f"{type(failure).__name__}: {failure} ({kept})", flush=True)
            counts[result] += 1
            if result in ("taken", "FAILED"):
                before = fresh(home)
    print(f"{sum(counts.values())} bundles: {dict(counts.most_common())}")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB at most")
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
