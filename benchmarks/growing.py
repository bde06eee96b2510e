"""How the verbs grow with the number of versions in a home, and of tensors in a checkpoint."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from benchmarks import searching
from benchmarks.children import COMMAND, run_python
from benchmarks.row import Row, at_most
from benchmarks.timing import Side, rounds, timed
from benchmarks.workshop import Subject, Workshop
from registry import Registry

_CALLS = 20

INDEX = "the depth of an index, and the pages of the database that are not in the cache"
EACH = "the work for each tensor"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Measure each verb at every size in turn, and compare the largest with the smallest."""
    yield from _with_versions(workshop)
    yield from _with_tensors(workshop)


def _with_versions(workshop: Workshop) -> Iterator[Row]:
    homes: dict[int, Registry] = {}
    for versions in workshop.scale.grown:
        folder = workshop.fresh_folder(f"growing-{versions}")
        searching.fill(folder, versions)
        homes[versions] = Registry(folder)

    def called(call: Callable[[Registry], object]) -> dict[int, Side]:
        return {size: _milliseconds(timed(lambda home=home: _again(call, home))) for size, home in homes.items()}

    listed = {
        size: timed(lambda home=home: run_python(COMMAND, "list", REGISTRY_HOME=str(home.home)))
        for size, home in homes.items()
    }
    seeds = iter(range(sys.maxsize))
    for home in homes.values():
        home.list(limit=1)
        _push(home, next(seeds))
    for what, sides, unit in (
        ("resolve an alias", called(lambda home: home.get("model-7:best")), "ms"),
        ("50 newest", called(lambda home: home.list(limit=50)), "ms"),
        ("50 best by a metric", called(lambda home: home.list("sort:-acc", limit=50)), "ms"),
        ("push of a small checkpoint", called(lambda home: _push(home, next(seeds))), "ms"),
        ("audit of one version", called(lambda home: home.audit("pushed:v1")), "ms"),
        ("registry list, as a process", listed, "s"),
    ):
        yield _row(what, "versions", unit, _at_each_size(sides, workshop.pairs), 2.0, INDEX)
    for home in homes.values():
        home.close()
        shutil.rmtree(home.home)


def _push(home: Registry, seed: int) -> None:
    home.push({"weight": torch.full((256,), float(seed))}, "pushed", from_="single")


def _again(call: Callable[[Registry], object], home: Registry) -> None:
    for _ in range(_CALLS):
        call(home)


def _milliseconds(side: Side) -> Side:
    return lambda: 1000 * side() / _CALLS


def _with_tensors(workshop: Workshop) -> Iterator[Row]:
    """One figure is the time for each tensor, so what is linear stays as it is."""
    push: dict[int, Side] = {}
    load: dict[int, Side] = {}
    diff: dict[int, Side] = {}
    audit: dict[int, Side] = {}
    folder = workshop.fresh_folder("growing-tensors")
    registry = Registry(folder)
    seeds = iter(range(1, 10_000))
    states: dict[str, dict[str, torch.Tensor]] = {}
    for tensors in workshop.scale.grown_tensors:
        subject = Subject(f"small-{tensors}", "benchmarks.subjects:ManySmall", {"tensors": tensors})
        name = subject.name

        def fresh(name: str = name, subject: Subject = subject) -> None:
            torch.manual_seed(next(seeds))
            states[name] = dict(subject.build().state_dict())

        def pushed(name: str = name, subject: Subject = subject) -> None:
            registry.push(states[name], name, from_="single", model=subject.target, init=dict(subject.init))

        for _ in range(2):
            fresh()
            pushed()
        push[tensors] = _for_each(timed(pushed, before=fresh), tensors)
        load[tensors] = _for_each(timed(lambda name=name: registry.load(f"{name}:v1")), tensors)
        diff[tensors] = _for_each(timed(lambda name=name: registry.diff(f"{name}:v1", f"{name}:v2")), tensors)
        audit[tensors] = _for_each(timed(lambda name=name: registry.audit(f"{name}:v1")), tensors)
    for what, sides in (("push", push), ("load", load), ("diff", diff), ("audit", audit)):
        yield _row(f"{what}, for each tensor", "tensors", "ms", _at_each_size(sides, workshop.pairs), 1.5, EACH)
    registry.close()
    shutil.rmtree(folder)


def _for_each(side: Side, tensors: int) -> Side:
    return lambda: 1000 * side() / tensors


def _at_each_size(sides: Mapping[int, Side], pairs: int) -> dict[int, tuple[float, ...]]:
    figures = rounds({str(size): side for size, side in sides.items()}, pairs)
    return {size: figures[str(size)] for size in sides}


def _row(what: str, of: str, unit: str, figures: Mapping[int, Sequence[float]], most: float, limit: str) -> Row:
    sizes = sorted(figures)
    first, last = sizes[0], sizes[-1]
    growth = tuple((size, min(figures[size])) for size in sizes)  # the least disturbed
    best = ", ".join(f"{figure:.3g} {unit} at {size:,}" for size, figure in growth)
    slope = f"at best {best}: by the power {exponent(growth):.2f} of their number"
    return Row(
        "growing", f"{what}, {last:,} {of}", f"{first:,} {of}", at_most(most), "s" if unit == "s" else "ms",
        tuple(figures[last]), tuple(figures[first]), remark=slope, limit=limit,
        growth=growth, grows_with=of,
    )  # fmt: skip


def exponent(growth: Sequence[tuple[int, float]]) -> float:
    """Return the power of the size by which a figure grows, fitted over all sizes: 0 is flat, 1 is linear."""
    points = [(math.log(size), math.log(figure)) for size, figure in growth]
    x, y = (sum(each[axis] for each in points) / len(points) for axis in (0, 1))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
