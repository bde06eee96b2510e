"""A trainer goes on from a version: what it reaches is what it would have reached without the interruption."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from registry import Registry, errors

pytestmark = pytest.mark.ecosystem

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, hub: Registry) -> None:
    """No trainer of a test is one of a job; what is stored goes to the home of ``hub``."""
    monkeypatch.syspath_prepend(EXAMPLES)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def example(name: str) -> Any:
    """Return a module of the examples."""
    return import_module(name)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


# Lightning


def lightning_model(parts: int = 1, compiled: bool = False) -> Any:
    """A LightningModule with dropout, Adam and a schedule; with ``parts=2``, two optimizers that it steps itself."""
    from lightning.pytorch import seed_everything

    base: Any = example("lightning_classifier").LightningClassifier

    class Net(base):
        def __init__(self) -> None:
            super().__init__(width=12)
            self.automatic_optimization = parts == 1
            if compiled:
                self.model: Any = torch.compile(self.model, backend="eager")
            self.note = 0

        def training_step(self, batch: Any, index: int) -> Any:
            loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
            if not self.automatic_optimization:
                for optimizer in self.optimizers():
                    optimizer.zero_grad()
                self.manual_backward(loss)
                for optimizer in self.optimizers():
                    optimizer.step()
            return loss

        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            checkpoint["note"] = self.current_epoch

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            self.note = checkpoint["note"]

        def configure_optimizers(self) -> Any:
            groups = list(self.parameters())
            made = [torch.optim.Adam(groups[part::parts], 1e-2) for part in range(parts)]
            return made, [torch.optim.lr_scheduler.MultiStepLR(each, [1, 3], 0.5) for each in made]

    seed_everything(0, verbose=False)
    return Net()


def fit(model: Any, epochs: int, *callbacks: Any, ckpt_path: str | None = None) -> Any:
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader, TensorDataset

    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
    )
    sets = [TensorDataset(*example("classifiers").blobs(seed)) for seed in (0, 1)]
    training, validation = (DataLoader(each, batch_size=16) for each in sets)
    trainer.fit(model, training, validation, ckpt_path=ckpt_path)
    return trainer


@pytest.mark.parametrize(("parts", "compiled"), [(1, False), (2, False), (1, True)])
def test_lightning_goes_on_from_a_version(hub: Registry, parts: int, compiled: bool):
    from lightning.pytorch.callbacks import EarlyStopping

    from registry.integrations.lightning import RegistryCheckpoint, checkpoint

    whole = lightning_model(parts, compiled)
    fit(whole, 4)
    half = lightning_model(parts, compiled)
    stopping = EarlyStopping("val_acc", mode="max", patience=9)
    fit(half, 2, RegistryCheckpoint("net"), stopping)

    rest, again = lightning_model(parts, compiled), EarlyStopping("val_acc", mode="max", patience=9)
    for parameter in rest.parameters():
        torch.nn.init.constant_(parameter, 7.0)
    trainer = fit(rest, 3, RegistryCheckpoint("net", keep_last=2), again, ckpt_path=checkpoint("net:last"))
    assert trainer.current_epoch == 3 and rest.note == 1 and again.best_score >= stopping.best_score
    trainer = fit(rest, 4, RegistryCheckpoint("net", keep_last=2), ckpt_path=checkpoint(hub.get("net:last")))
    assert same(whole, rest)
    assert [entry.version for entry in hub.list("net")] == [4, 3], "one run, by three processes"
    assert [entry.epoch for entry in hub.list("net")] == [3, 2]


def test_a_checkpoint_of_lightning_lies_where_it_is_asked_for(hub: Registry, tmp_path: Path):
    from registry.integrations.lightning import RegistryCheckpoint, checkpoint

    fit(lightning_model(), 1, RegistryCheckpoint("net"))
    place = tmp_path / "last.ckpt"
    assert checkpoint("net", place) == str(place)
    assert torch.load(place, weights_only=True)["epoch"] == 0
    with pytest.raises(errors.CannotExport, match="exists already"):
        checkpoint("net", place)


def test_lightning_cannot_go_on_from_weights_alone(hub: Registry):
    from registry.integrations.lightning import RegistryCheckpoint, checkpoint

    fit(lightning_model(), 1, RegistryCheckpoint("net", save_weights_only=True))
    with pytest.raises(errors.NoTrainerState, match="RegistryCheckpoint"):
        checkpoint("net")


def test_what_a_callback_of_lightning_says_that_cannot_be_stored_does_not_lose_the_version(hub: Registry):
    from lightning.pytorch.callbacks import Callback

    from registry.integrations.lightning import RegistryCheckpoint, checkpoint

    class Odd(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"function": print}

    with pytest.warns(UserWarning, match="Odd"):
        fit(lightning_model(), 1, RegistryCheckpoint("net"), Odd())
    assert "loops" in torch.load(checkpoint("net"), weights_only=True)


def test_lightning_is_told_of_a_metric_that_never_came(hub: Registry):
    from registry.integrations.lightning import RegistryCheckpoint

    with pytest.warns(UserWarning, match=r"'accuracy'.*val_acc"):
        fit(lightning_model(), 1, RegistryCheckpoint("net", monitor="accuracy", mode="max", save_top_k=2))


# Transformers


def bert(dropout: float = 0.1, tied: bool = False) -> Any:
    import transformers

    kind = transformers.BertForMaskedLM if tied else transformers.BertForSequenceClassification
    transformers.set_seed(0)
    return kind(
        transformers.BertConfig(
            vocab_size=20,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    )


def trainer_of(model: Any, folder: Path, *callbacks: Any, **settings: Any) -> Any:
    import transformers

    arguments = transformers.TrainingArguments(
        str(folder),
        num_train_epochs=3,
        learning_rate=5e-3,
        per_device_train_batch_size=8,
        save_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        **{"eval_strategy": "epoch", **settings},
    )
    training = example("transformers_training")
    data: list[Any] = [training.sentences(seed) for seed in (0, 1)]
    if type(model).__name__ == "BertForMaskedLM":
        data = [[{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in rows] for rows in data]
    return transformers.Trainer(
        model,
        arguments,
        train_dataset=data[0],
        eval_dataset=data[1],
        compute_metrics=None if type(model).__name__ == "BertForMaskedLM" else training.accuracy,
        callbacks=list(callbacks),
    )


def stop_after(epochs: int) -> Any:
    import transformers

    class Stop(transformers.TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = control.should_training_stop or state.epoch >= epochs

    return Stop()


@pytest.mark.parametrize("tied", [False, True])
def test_the_trainer_of_transformers_goes_on_from_a_version(hub: Registry, tmp_path: Path, tied: bool):
    from registry.integrations.transformers import RegistryCallback, checkpoint

    whole = bert(tied=tied)
    trainer_of(whole, tmp_path / "whole").train()
    half = bert(tied=tied)
    trainer_of(half, tmp_path / "half", RegistryCallback("bert"), stop_after(1)).train()

    rest = bert(tied=tied)
    for parameter in rest.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    trainer = trainer_of(rest, tmp_path / "rest", RegistryCallback("bert", keep_last=2))
    trainer.train(resume_from_checkpoint=checkpoint("bert:last"))
    assert trainer.state.epoch == 3 and trainer.state.global_step == 24
    assert same(whole, rest)
    assert [entry.version for entry in hub.list("bert")] == [3, 2] and len({e.run for e in hub.list("bert")}) == 1


def test_the_trainer_goes_on_with_a_run_from_a_checkpoint_of_its_own(hub: Registry, tmp_path: Path):
    from registry.integrations.transformers import RegistryCallback

    trainer_of(bert(), tmp_path / "one", RegistryCallback("bert"), stop_after(2)).train()
    trainer = trainer_of(bert(), tmp_path / "one", RegistryCallback("bert", keep_last=1))
    trainer.train(resume_from_checkpoint=True)
    assert [entry.version for entry in hub.list("bert")] == [3]


def test_the_trainer_cannot_go_on_from_weights_alone(hub: Registry, tmp_path: Path):
    from registry.integrations.transformers import RegistryCallback, checkpoint

    trainer_of(bert(), tmp_path, RegistryCallback("bert"), stop_after(1), save_only_model=True).train()
    with pytest.raises(errors.NoTrainerState, match="RegistryCallback"):
        checkpoint("bert")


def test_the_trainer_is_told_of_a_metric_that_never_came(hub: Registry, tmp_path: Path):
    from registry.integrations.transformers import RegistryCallback

    keep = RegistryCallback("bert", best_by="eval_f1")
    with pytest.warns(UserWarning, match=r"'eval_f1'.*eval_accuracy"):
        trainer_of(bert(), tmp_path, keep, stop_after(1)).train()


# Accelerate


def test_accelerate_goes_on_with_the_run_that_it_resumes(hub: Registry):
    import accelerate

    from registry.integrations.accelerate import RegistrySaver

    def epochs(model: Any, count: int, resumed: bool) -> None:
        accelerator = accelerate.Accelerator(cpu=True)
        model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
        if resumed:
            hub.resume("net:last", model, optimizer)
        saver = RegistrySaver(accelerator, "net", hub=hub, keep_last=2, best_by="f1")
        for epoch in range(count):
            with torch.no_grad():
                model.weight.add_(1.0)
            saver.save(model, {"acc": 0.5}, optimizer=optimizer, epoch=epoch)
        with pytest.warns(UserWarning, match="'f1'"):
            saver.finish()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del saver

    epochs(torch.nn.Linear(2, 2), 2, resumed=False)
    epochs(torch.nn.Linear(2, 2), 2, resumed=True)
    assert [entry.version for entry in hub.list("net")] == [4, 3]
