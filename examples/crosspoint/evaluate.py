"""Few-shot evaluation and fine-tuning of the pre-trained point branch on one device.

``python examples/crosspoint/evaluate.py`` after ``train.py``.
"""

from __future__ import annotations

import torch
from encoders import Classifier, PointEncoder
from pairs import augmented
from torch import Tensor, nn

import registry
from registry.demonstration.clouds import BODIES, clouds

SHOTS, QUERIES, EPISODES = 5, 15, 20
LABELED, STEPS = 120, 60


def features(model: PointEncoder, points: Tensor) -> Tensor:
    """Return the features of clouds, as the pre-trained encoder computes them."""
    model.eval()
    with torch.no_grad():
        return model(points)[0]


def few_shot_accuracy(model: PointEncoder) -> float:
    """Return how often the nearest mean of five labeled clouds names an unseen cloud rightly."""
    ways, per_class = len(BODIES), SHOTS + QUERIES
    right = 0
    for episode in range(EPISODES):
        points, labels = clouds(ways * per_class, seed=100 + episode, points=96)
        found = nn.functional.normalize(features(model, points), dim=1)
        by_class = found[labels.argsort(stable=True)].view(ways, per_class, -1)
        means = by_class[:, :SHOTS].mean(1)
        answers = torch.cdist(by_class[:, SHOTS:].reshape(ways * QUERIES, -1), means).argmin(1)
        right += int((answers == torch.arange(ways).repeat_interleave(QUERIES)).sum())
    return right / (EPISODES * ways * QUERIES)


def fine_tune() -> tuple[Classifier, float]:
    """Train the pre-trained encoder with a head on few labels, and return it with its accuracy on held-out clouds."""
    torch.manual_seed(0)
    model = registry.remember(Classifier(classes=len(BODIES)), classes=len(BODIES))
    # was: model.encoder.load_state_dict(torch.load("checkpoints/best_model.pth"), strict=False)
    #      which loads nothing, says nothing, and fine-tunes random weights: every name begins with "module."
    registry.load("crosspoint-points:last", model=model.encoder)
    model.eval()  # the statistics of the batch normalization stay those of the pre-training
    points, labels = clouds(LABELED, seed=3, points=96)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(augmented(points)), labels).backward()
        optimizer.step()
    points, labels = clouds(300, seed=4, points=96)
    with torch.no_grad():
        accuracy = float((model(points).argmax(1) == labels).float().mean())
    registry.push(model, "shape-classifier", metrics={"acc": accuracy}, parent="crosspoint-points:last")
    return model, accuracy


if __name__ == "__main__":
    # was: model = PointEncoder(); model.load_state_dict(torch.load("checkpoints/best_model.pth"), strict=False)
    encoder = registry.load("crosspoint-points:last", verify="outputs")
    print(f"few-shot accuracy of the pre-trained encoder: {few_shot_accuracy(encoder):.3f}")
    print(f"few-shot accuracy of random weights: {few_shot_accuracy(PointEncoder()):.3f}")
    print(f"accuracy after fine-tuning on {LABELED} labeled clouds: {fine_tune()[1]:.3f}")
