"""Train with Accelerate and keep the versions.

One process: ``python examples/accelerate_training.py``. Two: ``torchrun --nproc-per-node 2
examples/accelerate_training.py``. The versions go to the registry of ``REGISTRY_HOME``, and
``registry.load("classifier:best")`` gives the model back.
"""

from __future__ import annotations

import torch
from accelerate import Accelerator
from classifiers import Classifier, blobs
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import registry
from registry.integrations.accelerate import RegistrySaver


def main() -> None:
    """Train for three epochs."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    model = registry.remember(Classifier(width=12), width=12)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = DataLoader(TensorDataset(*blobs(0)), batch_size=16)
    model, optimizer, batches = accelerator.prepare(model, optimizer, batches)
    saver = RegistrySaver(accelerator, "classifier", keep_last=2, best_by="acc")
    inputs, labels = blobs(1)
    for epoch in range(3):
        model.train()
        for points, answers in batches:
            optimizer.zero_grad()
            accelerator.backward(nn.functional.cross_entropy(model(points), answers))
            optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracy = (model(inputs).argmax(-1) == labels).float().mean()
        saver.save(model, metrics={"acc": accuracy}, optimizer=optimizer, epoch=epoch, example=inputs[:4])


if __name__ == "__main__":
    main()
