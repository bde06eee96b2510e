"""A training does not start from weights that are no longer those that were loaded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from nets import PointNet
from ranks import Ranks
from torch import nn

import registry
from registry import errors
from registry.integrations.beginning import confirm_loaded


@pytest.fixture
def stocked(hub: registry.Registry) -> registry.Registry:
    """A registry with ``net:v1``."""
    hub.push(PointNet(), "net", model="nets:PointNet")
    return hub


def begin_anew(module: Any) -> None:
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()


class Task(nn.Module):
    """A part that was loaded, and a head of its own."""

    def __init__(self, hub: registry.Registry) -> None:
        super().__init__()
        self.backbone: Any = hub.load("net")
        self.head = nn.Linear(5, 2)


def test_a_part_that_is_initialized_anew_after_its_load_is_found(stocked: registry.Registry) -> None:
    task = Task(stocked)
    confirm_loaded(task, stocked)
    task = Task(stocked)
    task.apply(begin_anew)
    with pytest.raises(errors.WeightsDiffer, match=r"net:v1: 6 tensors changed since the load.*check_weights=False"):
        confirm_loaded(nn.DataParallel(task), stocked)


def test_what_is_trained_since_it_was_confirmed_is_not_asked_again(stocked: registry.Registry) -> None:
    task = Task(stocked)
    confirm_loaded(task, stocked)
    with torch.no_grad():
        task.backbone.head.bias += 1
    confirm_loaded(task, stocked)
    stocked.load("net", model=task.backbone)
    task.backbone.head.reset_parameters()
    with pytest.raises(errors.WeightsDiffer):
        confirm_loaded(task, stocked)


def test_what_a_load_left_and_what_replaces_a_part_is_no_fault(stocked: registry.Registry) -> None:
    model = PointNet(num_classes=9)
    model.extra = nn.Linear(2, 2)
    stocked.load("net", model=model, allow_missing="extra.*", allow_shape="head.*")
    model.head = nn.Linear(8, 3)
    confirm_loaded(model, stocked)
    confirm_loaded(stocked.load("net", cast="bfloat16"), stocked)
    confirm_loaded(PointNet(), stocked)


def test_a_version_of_another_registry_is_said_not_to_be_checked(stocked: registry.Registry, tmp_path: Path) -> None:
    elsewhere = registry.Registry(tmp_path / "elsewhere")
    elsewhere.push(PointNet(), "net", model="nets:PointNet")
    model: Any = elsewhere.load("net")
    model.head.reset_parameters()
    with pytest.warns(UserWarning, match=r"net:v1, and its weights were not checked: it is not in"):
        confirm_loaded(model, stocked)
    with pytest.raises(errors.WeightsDiffer):
        confirm_loaded(model, elsewhere)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confirm_loaded(stocked.load("net"), elsewhere)


def beginning(rank: int) -> None:
    model = registry.load("net", ddp=True)
    confirm_loaded(model, registry.Registry())
    model = registry.load("net", ddp=True)
    if rank == 1:
        begin_anew(model.get_submodule("module.head"))
    with pytest.raises(errors.WeightsDiffer if rank == 1 else errors.OtherRankFailed, match=r"head\.weight"):
        confirm_loaded(model, registry.Registry())


def test_weights_that_differ_on_one_rank_stop_all(ranks: Ranks, stocked: registry.Registry) -> None:
    ranks.run(beginning)


@pytest.mark.ecosystem
def test_lightning_does_not_start_from_noise(stocked: registry.Registry, tmp_path: Path) -> None:
    from lightning.pytorch import LightningModule, Trainer
    from torch.utils.data import DataLoader

    from registry.integrations.lightning import RegistryCheckpoint

    class Job(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net: Any = stocked.load("net")

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            return self.net(batch).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    def train(job: Job, **settings: Any) -> None:
        trainer = Trainer(
            fast_dev_run=True,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[RegistryCheckpoint("job", hub=stocked, **settings)],
        )
        points: Any = torch.randn(4, 3, 6)
        trainer.fit(job, DataLoader(points, batch_size=2))

    job = Job()
    train(job)
    train(job)  # from trained weights, as it is meant
    job = Job()
    job.net.head.reset_parameters()
    with pytest.raises(errors.WeightsDiffer, match=r"net:v1.*head\.weight"):
        train(job)
    train(job, check_weights=False)


@pytest.mark.ecosystem
def test_the_other_callbacks_do_not_start_from_noise_either(stocked: registry.Registry, tmp_path: Path) -> None:
    import accelerate
    from transformers import Trainer, TrainingArguments

    from registry.integrations.accelerate import RegistrySaver
    from registry.integrations.transformers import RegistryCallback

    class Scored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net: Any = stocked.load("net")

        def forward(self, points: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": self.net(points).square().mean()}

    def train(model: nn.Module, **settings: Any) -> None:
        arguments = TrainingArguments(
            str(tmp_path), max_steps=1, use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no"
        )
        data = [{"points": torch.randn(3, 6)} for _ in range(4)]
        callback = RegistryCallback("job", hub=stocked, **settings)
        Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()

    train(Scored())
    noise = Scored()
    noise.net.head.reset_parameters()
    with pytest.raises(errors.WeightsDiffer):
        train(noise)
    accelerator = accelerate.Accelerator(cpu=True)
    accelerator.prepare(Scored())
    RegistrySaver(accelerator, "job", hub=stocked)
    prepared = accelerator.prepare(noise)
    with pytest.raises(errors.WeightsDiffer):
        RegistrySaver(accelerator, "job", hub=stocked)
    RegistrySaver(accelerator, "job", hub=stocked, check_weights=False)
    with pytest.raises(errors.WeightsDiffer):
        RegistrySaver(accelerator, "job", hub=stocked, check_weights=False).begin(prepared)
