"""Anonymous memory of a load and of a push, against the bytes of the tensors."""

from __future__ import annotations

import gc
from collections.abc import Iterator

from benchmarks import children
from benchmarks.row import Row, at_most
from benchmarks.workshop import Workshop

LOAD_LIMIT = "what Python keeps of the module and the manifest; the weights are pages of the blob"
PUSH_LIMIT = "the buffers between reading, hashing and writing"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Measure both in processes of their own."""
    subject = workshop.scale.gpt
    load, push = (
        ("anonymous memory of a load", at_most(0.02), LOAD_LIMIT),
        ("peak anonymous memory of a push from a file", at_most(0.10), PUSH_LIMIT),
    )
    if not children.can_measure_memory():
        for what, goal, _ in (load, push):
            yield Row("memory", what, "bytes of the tensors", goal, "MB", skipped="the system does not tell RssAnon")
        return
    home, ref, path = workshop.registry.home, workshop.pushed(subject), workshop.checkpoint(subject)
    total = (workshop.tensor_bytes(subject) / 1e6,) * workshop.pairs
    calls = (
        (load, children.start("benchmarks.memory:peaks_of_loads", home=str(home), ref=ref, times=workshop.pairs)),
        (
            push,
            children.start(
                "benchmarks.memory:peaks_of_pushes",
                folder=str(workshop.fresh_folder("memory")),
                path=str(path),
                times=workshop.pairs,
            ),
        ),
    )
    for (what, goal, limit), child in calls:
        peaks = tuple(peak / 1e6 for peak in children.result(child))
        yield Row("memory", what, "bytes of the tensors", goal, "MB", peaks, total, limit=limit)


def peaks_of_loads(home: str, ref: str, times: int) -> list[int]:
    """Return the peaks of some loads in one process, in bytes, the first one's imports included but torch."""
    import torch  # noqa: F401  # what any program that loads weights has

    from registry import Registry

    peaks = []
    for _ in range(times):
        with children.PeakMemory() as peak:
            model = Registry(home).load(ref)
        peaks.append(peak.nbytes)
        del model
        gc.collect()
    return peaks


def peaks_of_pushes(folder: str, path: str, times: int) -> list[int]:
    """Return the peaks of some pushes of one file, each to a registry of its own, in bytes."""
    import shutil
    from pathlib import Path

    from registry import Registry

    peaks = []
    for number in range(times):
        home = Path(folder) / str(number)
        with children.PeakMemory() as peak:
            Registry(home).push(path, "pushed", from_="ddp")
        peaks.append(peak.nbytes)
        shutil.rmtree(home)
    return peaks
