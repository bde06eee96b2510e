"""Weights are found wherever a training script puts them, and the rest is told apart from them."""

from __future__ import annotations

import argparse
import datetime
import pathlib
import sys
import types
from collections import Counter, OrderedDict, defaultdict
from typing import Any

import numpy
import pytest
import torch
from written import same, saved

from registry.checkpoints.opening import open_checkpoint


def state(seed: int = 0, prefix: str = "") -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return OrderedDict((f"{prefix}{name}", torch.randn(3, 2)) for name in ("a.weight", "b.weight", "c.weight"))


def adam() -> dict[str, object]:
    module = torch.nn.Linear(3, 3)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(3)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize(
    ("wrap", "key"),
    [
        (lambda sd: sd, ""),
        *[
            (lambda sd, name=name: {name: sd, "optimizer": adam(), "epoch": 3, "best_acc": torch.tensor(0.9)}, name)
            for name in (
                "state_dict", "model", "model_state_dict", "model_state", "net", "network", "weights", "module",
                "params", "generator", "ema", "state_dict_ema", "model_ema", "encoder", "backbone_v2",
            )
        ],
        (lambda sd: {"model": {"state_dict": sd, "model_args": {"width": 3}}, "optimizer": adam()}, "model/state_dict"),
        (lambda sd: {"app": {"model": {"state_dict": sd}}}, "app/model/state_dict"),
        (lambda sd: {"a/b": {"c": sd}}, "a/b/c"),
        (lambda sd: {"meta": {"epoch": 3}, "state_dict": sd, "message_hub": {"log": torch.zeros(())}}, "state_dict"),
        (lambda sd: {"state_dict": sd, "rng_states": {"cpu": torch.get_rng_state()}}, "state_dict"),
    ],
)  # fmt: skip
def test_one_state_dict_is_found_in_any_container(tmp_path, wrap, key):
    checkpoint = open_checkpoint(saved(tmp_path / "a.pth", wrap(state())))
    assert [weights.key for weights in checkpoint.weight_sets] == [key]
    tensors = checkpoint.weight_sets[0].tensors
    assert list(tensors) == list(state()) and all(same(tensors[n], t) for n, t in state().items())


def test_several_sets_are_all_offered_and_averages_come_last(tmp_path):
    value = {"model_ema": state(1), "critic": state(2), "state_dict": state(3), "ema_shadow": {"params": state(4)}}
    checkpoint = open_checkpoint(saved(tmp_path / "a.pth", value))
    keys = [weights.key for weights in checkpoint.weight_sets]
    assert keys[:2] == ["state_dict", "critic"] and set(keys[2:]) == {"model_ema", "ema_shadow/params"}


def test_training_state_is_kept_apart_with_its_tensors(tmp_path):
    value: dict[str, Any] = {"model": state(), "optimizer": adam(), "scheduler": {"last_epoch": 4}, "epoch": 4}
    checkpoint = open_checkpoint(saved(tmp_path / "a.pth", value))
    assert set(checkpoint.training) == {"optimizer", "scheduler", "epoch"}
    read = checkpoint.training["optimizer"]["state"][0]["exp_avg"]
    assert same(read, value["optimizer"]["state"][0]["exp_avg"])
    assert checkpoint.facts == {"epoch": 4}


def test_init_arguments_and_facts_are_offered(tmp_path):
    lightning = {
        "state_dict": state(), "hyper_parameters": {"width": 8}, "pytorch-lightning_version": "2.4", "global_step": 9,
    }  # fmt: skip
    checkpoint = open_checkpoint(saved(tmp_path / "a.ckpt", lightning))
    assert checkpoint.init == {"width": 8} and checkpoint.facts == {"global_step": 9, "framework": "lightning"}
    nested = {"model": {"state_dict": state(), "model_args": {"layers": 4}}}
    assert open_checkpoint(saved(tmp_path / "b.pth", nested)).init == {"layers": 4}
    deepspeed = {"module": state(), "dp_world_size": 16, "mp_world_size": 1}
    assert open_checkpoint(saved(tmp_path / "c.pt", deepspeed)).facts["world_size"] == 16


def test_harmless_objects_beside_the_weights_become_plain_values(tmp_path):
    beside: dict[str, Any] = {
        "args": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("/data/x")),
        "space": types.SimpleNamespace(a=1),
        "counts": Counter("aab"),
        "table": defaultdict(list, {"k": [1]}),
        "when": datetime.datetime(2024, 5, 6, 7, 8, 9),
        "took": datetime.timedelta(seconds=90),
        "acc": numpy.float64(0.75),
        "n": numpy.int32(-7),
        "flag": numpy.bool_(True),
        "z": numpy.complex64(1 + 2j),
        "mean": numpy.arange(6, dtype=numpy.float32).reshape(2, 3),
        "columns": numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
        "big": numpy.arange(3, dtype=">i4"),
        "shape": torch.Size([2, 3]),
        "dtype": torch.bfloat16,
        "device": torch.device("cuda", 1),
        "raw": bytearray(b"ab"),
        "span": range(2, 9, 3),
        "kinds": {1, 2},
        "still": frozenset({"a"}),
        "w": 1 + 2j,
    }
    for protocol in (2, 4, 5):
        path = saved(tmp_path / "a.pth", {"state_dict": state(), **beside}, pickle_protocol=protocol)
        checkpoint = open_checkpoint(path)
        read = checkpoint.training
        assert checkpoint.notes == ()
        assert read["args"] == {"lr": 0.1, "path": "/data/x"} and read["space"] == {"a": 1}
        assert read["counts"] == {"a": 2, "b": 1} and read["table"] == {"k": [1]}
        assert read["when"] == "2024-05-06T07:08:09" and read["took"] == 90.0
        assert (read["acc"], read["n"], read["flag"], read["z"]) == (0.75, -7, True, 1 + 2j)
        assert read["mean"].data == beside["mean"].tobytes() and read["mean"].spec.shape == (2, 3)
        assert read["columns"].data == numpy.arange(6).tobytes()
        assert read["big"].data == numpy.arange(3, dtype="<i4").tobytes()
        assert read["shape"] == (2, 3) and read["dtype"].name == "bfloat16" and read["device"].name == "cuda:1"
        assert read["raw"] == b"ab" and read["span"] == range(2, 9, 3) and read["w"] == 1 + 2j
        assert read["kinds"] == {1, 2} and read["still"] == {"a"}


def omegaconf_like() -> dict[str, types.ModuleType]:
    """Modules whose classes pickle as those of omegaconf do: ``_content`` of nodes that hold ``_val``."""
    modules = {"omegaconf": types.ModuleType("omegaconf")}
    for place, name in (("dictconfig", "DictConfig"), ("listconfig", "ListConfig"), ("nodes", "AnyNode")):
        module = types.ModuleType(f"omegaconf.{place}")
        setattr(module, name, type(name, (), {"__module__": module.__name__}))
        modules[module.__name__] = module
    return modules


def test_omegaconf_configurations_are_read_as_plain_ones(tmp_path, monkeypatch):
    modules = omegaconf_like()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)

    def node(kind: str, **attributes: object) -> Any:
        place = {"DictConfig": "dictconfig", "ListConfig": "listconfig", "AnyNode": "nodes"}[kind]
        made = getattr(modules[f"omegaconf.{place}"], kind)()
        made.__dict__.update(attributes)
        return made

    root = node("DictConfig", _metadata=None, _parent=None)
    width = node("AnyNode", _val=64, _parent=root)
    sizes = node("ListConfig", _content=[node("AnyNode", _val=1), node("AnyNode", _val=2)], _parent=root)
    root._content = {"width": width, "sizes": sizes}
    checkpoint = open_checkpoint(saved(tmp_path / "a.ckpt", {"state_dict": state(), "hyper_parameters": root}))
    assert checkpoint.init == {"width": 64, "sizes": [1, 2]}


def test_an_extra_state_of_tensors_is_no_second_set(tmp_path):
    sd = {**state(), "quant._extra_state": {"amax": torch.ones(2), "scale": torch.ones(2)}}
    weights = open_checkpoint(saved(tmp_path / "a.pth", sd)).weight_sets
    assert [found.key for found in weights] == [""] and list(weights[0].values) == ["quant._extra_state"]
