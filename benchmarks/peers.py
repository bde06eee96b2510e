"""Other tools that store models, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.children import run_python
from benchmarks.pushing import copy_durably
from benchmarks.row import Floor, Row, at_least
from benchmarks.timing import Side, rounds, timed
from benchmarks.workshop import Workshop, recipe
from registry import Registry
from registry.catalog.catalog import Catalog

DISK = "the disk; the other tools do not wait for it"
IMPORTS = "importing torch and SQLAlchemy, then hashing every byte"
_LOAD = "import sys; from registry import Registry; Registry(sys.argv[1]).load(sys.argv[2])"
_IMPORT_AND_HASH = (
    "import sys, sqlalchemy, torch; from blake3 import blake3; blake3(max_threads=blake3.AUTO).update_mmap(sys.argv[1])"
)
_LOAD_MLFLOW = "import sys, mlflow.pytorch; mlflow.pytorch.load_model(sys.argv[1])"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Push one model to all of them, and load it in fresh processes."""
    subject = workshop.scale.gpt
    path = workshop.checkpoint(subject)
    folder = workshop.fresh_folder("peers")
    model = recipe(subject, path)
    peers: dict[str, Callable[[], Side]] = {
        "mlflow": lambda: _mlflow(folder, model),
        "dvc": lambda: _dvc(folder, path),
        "huggingface_hub": lambda: _huggingface(folder, model),
    }
    here = {name: make() for name, make in peers.items() if find_spec(name) is not None}
    copied = folder / "copied.pth"
    ours = {
        "push": _push(folder, path),
        "cp": timed(lambda: copy_durably(path, copied), before=lambda: copied.unlink(missing_ok=True)),
    }
    sides = {name: _on_a_quiet_disk(side) for name, side in {**ours, **here}.items()}
    figures = rounds(sides, workshop.pairs) if here else {}
    for name in peers:
        what, goal = "push, hashed and durable", at_least(4)
        if name in here:
            floor = Floor("cp and fsync of the file", figures["cp"])
            yield Row("peers", what, _CALLS[name], goal, "s", figures["push"], figures[name], limit=DISK, floor=floor)
        else:
            yield Row("peers", what, _CALLS[name], goal, skipped=f"{name} is not installed")
    yield _fresh_process(workshop, folder, model)
    shutil.rmtree(folder)


_CALLS = {
    "mlflow": "MLflow log_model with a registered name",
    "dvc": "dvc add",
    "huggingface_hub": "huggingface_hub save_torch_model",
}


def _on_a_quiet_disk(side: Side) -> Side:
    """Return a side after which nothing is left to write: the next one's fsync would wait for that too."""

    def run() -> float:
        figure = side()
        os.sync()
        return figure

    return run


def _push(folder: Path, path: Path) -> Side:
    home = folder / "home"

    def empty() -> None:
        shutil.rmtree(home, ignore_errors=True)
        Catalog(home).close()

    return timed(lambda: Registry(home).push(path, "pushed", from_="ddp"), before=empty)


def _mlflow(folder: Path, model: nn.Module) -> Side:
    import mlflow
    import mlflow.pytorch

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("benchmark", artifact_location=str(folder / "mlruns")))

    def push() -> None:
        with mlflow.start_run():
            mlflow.pytorch.log_model(
                model, name="model", registered_model_name="pushed", pip_requirements=["torch"], **_mlflow_format()
            )

    return timed(push, before=lambda: shutil.rmtree(folder / "mlruns", ignore_errors=True))


def _mlflow_format() -> dict[str, Any]:
    """Ask for the format that keeps any module, where MLflow has several."""
    import inspect

    import mlflow.pytorch

    known = inspect.signature(mlflow.pytorch.save_model).parameters
    return {"serialization_format": "pickle"} if "serialization_format" in known else {}


def _dvc(folder: Path, path: Path) -> Side:
    repository = folder / "dvc"

    def prepare() -> None:
        shutil.rmtree(repository, ignore_errors=True)
        repository.mkdir()
        _dvc_command(repository, "init", "--no-scm")
        shutil.copyfile(path, repository / path.name)

    return timed(lambda: _dvc_command(repository, "add", path.name), before=prepare)


def _dvc_command(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, capture_output=True)


def _huggingface(folder: Path, model: nn.Module) -> Side:
    from huggingface_hub import save_torch_model

    target = folder / "huggingface"

    def empty() -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()

    return timed(lambda: save_torch_model(model, target), before=empty)


def _fresh_process(workshop: Workshop, folder: Path, model: nn.Module) -> Row:
    what, against = "fresh process, import to ready and checked", "MLflow load_model, unchecked"
    if find_spec("mlflow") is None:
        return Row("peers", what, against, at_least(5), skipped="mlflow is not installed")
    import mlflow.pytorch

    saved = folder / "saved"
    mlflow.pytorch.save_model(model, saved, pip_requirements=["torch"], **_mlflow_format())
    home, ref = str(workshop.registry.home), workshop.pushed(workshop.scale.gpt)
    path = str(workshop.checkpoint(workshop.scale.gpt))
    figures = rounds(
        {
            "registry": timed(lambda: run_python(_LOAD, home, ref)),
            "mlflow": timed(lambda: run_python(_LOAD_MLFLOW, str(saved))),
            "imports": timed(lambda: run_python(_IMPORT_AND_HASH, path)),
        },
        workshop.pairs,
    )
    return Row(
        "peers", what, against, at_least(5), "s", figures["registry"], figures["mlflow"],
        limit=IMPORTS, floor=Floor("import torch, sqlalchemy and BLAKE3 of the bytes on all cores", figures["imports"]),
    )  # fmt: skip
