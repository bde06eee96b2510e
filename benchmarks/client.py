"""One of many clients, in a process without torch, so that there is memory for all of them."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.field import run_races

TURN = 8
"""Calls: five times the version of an alias, twice the newest twenty, one new version."""


def use_registry(place: str, number: int) -> None:
    """Look up, list and push a file whenever a line comes: without torch, as MLflow does it."""
    import numpy
    from safetensors.numpy import save_file

    from registry import Registry

    registry = Registry(place)
    serial = iter(range(number, sys.maxsize, 1000))
    folder = tempfile.TemporaryDirectory(prefix="client-")
    path = Path(folder.name) / "net.safetensors"

    def push() -> object:
        save_file({"weight": numpy.full(16, float(next(serial)))}, path)
        return registry.push(path, "net", from_="single")

    if number == 0:
        for _ in range(20):
            push()
        registry.alias("net:v1", "best")
    _run(lambda: registry.get("net:best"), lambda: registry.list("net", limit=20), push)


def use_mlflow(place: str, number: int) -> None:
    """The same with MLflow's client, whose versions are rows that name a file."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # with which many processes at once fail
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=place, registry_uri=place)

    def push() -> object:
        return client.create_model_version("net", "s3://nowhere/model", await_creation_for=0)

    if number == 0:
        client.create_registered_model("net")
        for _ in range(20):
            push()
        client.set_registered_model_alias("net", "best", "1")
    _run(
        lambda: client.get_model_version_by_alias("net", "best"),
        lambda: client.search_model_versions("name='net'", max_results=20, order_by=["version_number DESC"]),
        push,
    )


def _run(get: Callable[[], object], list_: Callable[[], object], push: Callable[[], object]) -> None:
    turn = (get, get, list_, get, push, get, list_, get)
    for action in turn:
        action()
    actions = itertools.cycle(turn)
    run_races(lambda: next(actions)())
