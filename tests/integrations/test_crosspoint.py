"""The two-branch job of the examples, which docs/training.md calls.

What is evaluated on one device is what was pre-trained under DDP.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch
from ranks import Ranks

import registry

EXAMPLE = Path(__file__).parents[2] / "examples" / "crosspoint"
RANKS = 2


def probe() -> torch.Tensor:
    """Clouds that nothing was trained on."""
    return torch.randn(4, 3, 96, generator=torch.Generator().manual_seed(9))


def pretrain(rank: int, folder: Path) -> None:
    """Run the example's training on one of the ranks, and keep what the live model computes at its end."""
    evaluate, train = import_module("evaluate"), import_module("train")

    point_model, _ = train.train(rank, RANKS)
    if rank == 0:
        torch.save(evaluate.features(point_model.module, probe()), folder / "features.pt")


@pytest.fixture(scope="module")
def job(ranks: Ranks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the registry that a training under DDP pushed to."""
    folder = tmp_path_factory.mktemp("crosspoint")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGISTRY_HOME", str(folder))
        patch.syspath_prepend(EXAMPLE)
        ranks.run(pretrain, folder, world=RANKS)
    return folder


@pytest.fixture
def evaluation(job: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """The example's evaluation, in a process that never saw the training."""
    monkeypatch.setenv("REGISTRY_HOME", str(job))
    monkeypatch.syspath_prepend(EXAMPLE)
    evaluate = import_module("evaluate")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield evaluate
    torch.set_num_threads(threads)


def test_one_job_stores_its_two_branches_as_two_models(evaluation) -> None:
    for name in ("crosspoint-points", "crosspoint-images"):
        (entry,) = registry.list(name)
        assert entry.wrapper == "ddp" and entry.world_size == RANKS and entry.init["width"]


def test_the_evaluation_computes_the_very_features_of_the_pre_training(job: Path, evaluation) -> None:
    encoder = registry.load("crosspoint-points:last", verify="outputs")
    assert torch.equal(evaluation.features(encoder, probe()), torch.load(job / "features.pt"))


def test_the_pre_trained_encoder_is_clearly_better_than_random_weights(evaluation) -> None:
    torch.manual_seed(0)
    pretrained = evaluation.few_shot_accuracy(registry.load("crosspoint-points:last"))
    assert pretrained > evaluation.few_shot_accuracy(evaluation.PointEncoder()) + 0.15


def test_the_fine_tuned_model_names_its_pre_training_as_parent(evaluation) -> None:
    _, accuracy = evaluation.fine_tune()
    entry = registry.get("shape-classifier")
    assert entry.parent == registry.get("crosspoint-points:last").ref
    assert accuracy > 0.7 and len(registry.load("shape-classifier").get_parameter("head.weight")) == 6
