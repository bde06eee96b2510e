"""Train with Lightning and keep the versions: ``python examples/lightning_training.py [PROCESSES]``.

The versions go to the registry of ``REGISTRY_HOME``. ``registry list lightning-classifier`` shows what is kept, and
``registry.load("lightning-classifier:best")`` gives the LightningModule back, in any process that can import it.
"""

from __future__ import annotations

import sys

import torch
from classifiers import blobs
from lightning.pytorch import Trainer, seed_everything
from lightning_classifier import LightningClassifier
from torch.utils.data import DataLoader, TensorDataset

from registry.integrations.lightning import RegistryCheckpoint


def main(processes: int) -> None:
    """Train for three epochs, in several processes under DDP if asked."""
    seed_everything(0, verbose=False)
    training, validation = (DataLoader(TensorDataset(*blobs(seed)), batch_size=16) for seed in (0, 1))
    keep = RegistryCheckpoint(
        "lightning-classifier",
        keep_last=2,
        best_by="val_acc",
        example=torch.ones(1, 8),  # the lines that are new
    )
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        callbacks=[keep],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(LightningClassifier(width=12), training, validation)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
