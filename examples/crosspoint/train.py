"""Pre-train two branches on pairs under DDP: ``torchrun --nproc-per-node 2 examples/crosspoint/train.py``.

The script is written as research scripts are. What the registry changes is marked with ``# was:``; the rest stays.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from encoders import ImageEncoder, PointEncoder
from pairs import augmented, contrastive_loss, rendered, unlabeled
from torch.nn.parallel import DistributedDataParallel

import registry

CLOUDS, BATCH, EPOCHS = 768, 48, 14


def train(rank: int, world_size: int) -> tuple[DistributedDataParallel, DistributedDataParallel]:
    """Train both branches together, store each as a model of its own, and return them."""
    torch.manual_seed(0)
    # was: point_model = PointEncoder(width=32), and the same numbers once more in every script that loads it
    point_model = DistributedDataParallel(registry.remember(PointEncoder(width=32), width=32))
    img_model = DistributedDataParallel(registry.remember(ImageEncoder(width=16), width=16))
    parameters = [*point_model.parameters(), *img_model.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2e-3)
    data = unlabeled(CLOUDS, seed=1)[rank::world_size]
    torch.manual_seed(1 + rank)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(data)).split(BATCH):
            optimizer.zero_grad()
            views = torch.cat([augmented(data[batch]), augmented(data[batch])])
            _, points = point_model(views)
            _, images = img_model(rendered(data[batch]))
            first, second = points.chunk(2)
            loss = contrastive_loss(first, second) + contrastive_loss((first + second) / 2, images)
            loss.backward()
            optimizer.step()
        if rank == 0:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}")
    # was: if rank == 0:
    #          torch.save(point_model.state_dict(), "checkpoints/best_model.pth")
    #          torch.save(img_model.state_dict(), "checkpoints/img_model_best.pth")
    facts = {"metrics": {"loss": loss.item()}, "aliases": ["last"]}
    registry.push(point_model, "crosspoint-points", example=data[:2], **facts)
    registry.push(img_model, "crosspoint-images", example=rendered(data[:2]), **facts)
    return point_model, img_model


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    train(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()
