"""The examples of the training libraries, run as a user runs them; each with the real library, in two processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry import Entry, Registry

pytestmark = pytest.mark.ecosystem

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def job(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a registry that two processes can push to, with the examples importable."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    return home


def run(*command: str) -> None:
    """Run an example, and show what it printed if it fails."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def torchrun(script: str) -> None:
    run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script)


def kept(home: Path, name: str, metric: str) -> Entry:
    """Check what three epochs with ``keep_last=2`` have to leave, and return the best version."""
    hub = Registry(home)
    entries = {entry.version: entry for entry in hub.list(name)}
    best, last = hub.get(f"{name}:best"), hub.get(f"{name}:last")
    assert last.version == 3 and {2, 3, best.version} == set(entries)
    assert len(hub.list(name, trashed=True)) == 3 - len(entries)
    assert best.metrics[metric] == max(entry.metrics[metric] for entry in entries.values()) > 0.8
    assert {entry.world_size for entry in entries.values()} == {2}
    assert {entry.wrapper for entry in entries.values()} == {"ddp"}
    return best


def test_lightning_keeps_the_last_and_the_best(job: Path) -> None:
    run("lightning_training.py", "2")
    best = kept(job, "lightning-classifier", "val_acc")
    assert best.model_class == "lightning_classifier:LightningClassifier" and best.init == {"width": 12}
    model: Any = registry.load(best.ref, verify="outputs")
    assert model.hparams.width == 12 and not model.training
    resumed = registry.resume(best.ref, model, model.configure_optimizers())
    assert resumed.restored == ("optimizer",) and resumed.step == 4 * best.version and resumed.epoch == best.version - 1


def decayed(model: torch.nn.Module) -> list[list[torch.nn.Parameter]]:
    """Return the parameters that the Trainer decays, and those that it does not."""
    kept = [name for name, _ in model.named_parameters() if "bias" in name or "LayerNorm" in name]
    named = dict(model.named_parameters())
    return [[named[n] for n in named if n not in kept], [named[n] for n in kept]]


def test_the_trainer_of_transformers_keeps_the_last_and_the_best(job: Path) -> None:
    import transformers

    torchrun("transformers_training.py")
    best = kept(job, "sequence-classifier", "eval_accuracy")
    model = registry.load(best.ref, verify="outputs")
    assert isinstance(model, transformers.BertForSequenceClassification) and model.config.hidden_size == 16
    optimizer = torch.optim.AdamW([{"params": part} for part in decayed(model)])
    resumed = registry.resume(best.ref, model, optimizer)
    assert resumed.step == 4 * best.version and resumed.epoch == best.version
    assert optimizer.state[model.classifier.weight]["exp_avg"].abs().sum() > 0


def test_accelerate_keeps_the_last_and_the_best(job: Path) -> None:
    torchrun("accelerate_training.py")
    best = kept(job, "classifier", "acc")
    model = registry.load(best.ref, verify="outputs")
    assert model(torch.zeros(2, 8)).shape == (2, 4)
    assert registry.resume(best.ref, model, torch.optim.SGD(model.parameters())).epoch == best.version - 1
