"""The classifier of the examples as Lightning has it."""

from __future__ import annotations

import torch
from classifiers import Classifier
from lightning.pytorch import LightningModule
from torch import nn

Batch = tuple[torch.Tensor, torch.Tensor]


class LightningClassifier(LightningModule):
    """``save_hyperparameters`` is what lets the registry build it again."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = Classifier(width)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.model(inputs)

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        inputs, labels = batch
        return nn.functional.cross_entropy(self(inputs), labels)

    def validation_step(self, batch: Batch, index: int) -> None:
        inputs, labels = batch
        self.log("val_acc", (self(inputs).argmax(-1) == labels).float().mean(), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)
