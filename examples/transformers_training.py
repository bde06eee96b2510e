"""Train with the Trainer of transformers and keep the versions.

One process: ``python examples/transformers_training.py``. Two: ``torchrun --nproc-per-node 2
examples/transformers_training.py``. The versions go to the registry of ``REGISTRY_HOME``, and
``registry.load("sequence-classifier:best")`` gives the model back, made from its configuration.
"""

from __future__ import annotations

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, EvalPrediction, Trainer, TrainingArguments

from registry.integrations.transformers import RegistryCallback

WORDS, LENGTH = 20, 6


def sentences(seed: int, count: int = 64) -> list[dict[str, object]]:
    """Return sentences whose label is whether their first word is in the second half of the vocabulary."""
    words = torch.randint(WORDS, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    return [{"input_ids": row, "labels": int(row[0] >= WORDS // 2)} for row in words]


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """Return the share of right answers."""
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def main() -> None:
    """Train for three epochs."""
    config = BertConfig(
        vocab_size=WORDS, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    keep = RegistryCallback(
        "sequence-classifier", keep_last=2, best_by="eval_accuracy", example={"input_ids": torch.ones(1, 6).long()}
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=3,
            learning_rate=5e-3,
            per_device_train_batch_size=8,
            eval_strategy="epoch",
            save_strategy="epoch",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        Trainer(
            BertForSequenceClassification(config),
            arguments,
            train_dataset=sentences(0),
            eval_dataset=sentences(1),
            compute_metrics=accuracy,
            callbacks=[keep],
        ).train()


if __name__ == "__main__":
    main()
