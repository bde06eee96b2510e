"""Causes of sentences in Python."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import nets
import numpy
import reading
import torch
from advising import NAMES, Bench, Told, call, command
from commanded import lightning, no_rule
from torch import nn

import registry


def in_a_job(b: Bench, *lines: str) -> str:
    """Return what the only rank of a job says that runs these lines."""
    script = "\n".join(["import torch, registry", f"hub = registry.Registry({str(b.hub.home)!r})", *lines])
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    launched = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **launched}, cwd=b.folder, text=True, capture_output=True
    )
    return f"{done.stdout}{done.stderr}"


def without_a_process_group(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    load = "print('loaded', hub.load('net', model=torch.nn.Linear(2, 2), ddp=True))"

    def again(line: str) -> None:
        said = in_a_job(b, line, load)
        assert "loaded DistributedDataParallel" in said, said

    return Told(in_a_job(b, load), again)


def without_a_forward(b: Bench) -> Told:
    b.hub.push(reading.Listed(), "net")
    begin = "torch.distributed.init_process_group('gloo')"
    load = "print('loaded', hub.load('net', model='reading:Listed', %s))"

    def again(argument: str) -> None:
        said = in_a_job(b, begin, load % argument)
        assert "loaded DistributedDataParallel" in said, said

    return Told(in_a_job(b, begin, load % "fsdp=True"), again)


def in_one_object_in_python(b: Bench) -> Told:
    state = nets.NamespaceNet(Namespace(dim=3, out=2)).state_dict()
    return call(b.hub.push, b.file(state), "net", model="nets:NamespaceNet", init={"dim": 3, "out": 2})


def offered_in_python(b: Bench) -> Told:
    return call(b.hub.push, lightning(b), "net", model="torch.nn:Linear")


def loaded(b: Bench, state: dict[str, torch.Tensor], **options: Any) -> Told:
    b.hub.push(state, "net")
    return call(b.hub.load, "net", model=reading.Two(), **options)


def lacking(b: Bench) -> Told:
    return loaded(b, {n: t for n, t in reading.Two().state_dict().items() if n == "body.bias"})


def unexpected(b: Bench) -> Told:
    more = {"loss.weight": torch.ones(1), "loss.bias": torch.ones(1), "step[0]": torch.ones(1)}
    return loaded(b, {**reading.Two().state_dict(), **more})


def reshaped(b: Bench) -> Told:
    return loaded(b, {**reading.Two().state_dict(), "head.weight": torch.ones(3, 2), "head.bias": torch.ones(3)})


def recast(b: Bench) -> Told:
    return loaded(b, {n: t.double() for n, t in reading.Two().state_dict().items()})


def overflowing(b: Bench) -> Told:
    return loaded(b, {n: t + 1e30 for n, t in reading.Two().state_dict().items()}, cast=torch.float16)


def cast_to_numbers(b: Bench) -> Told:
    return loaded(b, reading.Two().state_dict(), cast=torch.int8)


class Random(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 2)
        self.noise = torch.randn(3)


def random_outside(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2).state_dict(), "net")
    return call(b.hub.load, "net", model=Random, init={})


class Stubborn(nn.Linear):
    def get_extra_state(self) -> int:
        return 1

    def set_extra_state(self, state: int) -> None:
        raise ValueError(state)


def stubborn(b: Bench) -> Told:
    b.hub.push(Stubborn(2, 2), "net")
    return call(b.hub.load, "net", model=Stubborn(2, 2))


def changed_after_it_was_made(b: Bench) -> Told:
    model = registry.remember(nets.PointNet(num_classes=5), num_classes=5)
    model.head = nn.Linear(model.head.in_features, 9)
    notices = str(b.hub.push(model, "net").notices)
    return Told(notices, lambda **more: b.hub.load("net", **more))


def without_class(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2).state_dict(), "net")
    told = call(b.hub.load, "net", init={"in_features": 2, "out_features": 2})
    return Told(told.text.replace("package.module:Net", "torch.nn:Linear"), told.again)


def without_class_for_an_instance(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2).state_dict(), "net")
    told = call(b.hub.load, "net")
    text = told.text.replace("registry.load(..., model=Net(args))", "registry.load('net', model=Net(args, args))")
    return Told(text, lambda loaded: None)


def arguments_unknown(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    text = call(b.hub.load, "net").text
    return Told(
        text.replace("{...}", "{'in_features': 2, 'out_features': 2}"), lambda **more: b.hub.load("net", **more)
    )


def arguments_of_an_instance(b: Bench) -> Told:
    told = arguments_unknown(b)
    return Told(told.text.replace("push(...,", "push(model, 'net',"), lambda entry: b.hub.load(entry))


def keywords_of_others(keyword: str, value: Any) -> Callable[[Bench], Told]:
    def cause(b: Bench) -> Told:
        b.hub.push(reading.Two().state_dict(), "net")
        return Told(
            call(b.hub.load, "net", **{keyword: value}).text, lambda **m: b.hub.load("net", model=reading.Two(), **m)
        )

    return cause


def pushing_with(keyword: str) -> Callable[[Bench], Told]:
    def cause(b: Bench) -> Told:
        told = call(b.hub.push, reading.Two().state_dict(), "net", **{keyword: "best"})
        return Told(
            told.text.replace("note='...' and", "note='...',"),
            lambda **m: b.hub.push(reading.Two().state_dict(), "net", **m),
        )

    return cause


def nameless(b: Bench) -> Told:
    told = call(b.hub.push, nn.Linear(2, 2).state_dict())
    return Told(told.text.replace("push(...", "push(model"), lambda entry: entry)


def without_example(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    told = call(b.hub.load, "net", model=nn.Linear(2, 2), verify="outputs")
    return Told(
        told.text.replace("push(...", "push(model, 'net', force_new=True"),
        lambda entry: b.hub.replay(entry.ref, model=NAMES["model"]),
    )


def without_optimizer(b: Bench) -> Told:
    model: Any = NAMES["model"]
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    b.hub.push(model, "net")
    told = call(b.hub.resume, "net", model, optimizer)
    NAMES["optimizer"] = optimizer
    return Told(
        told.text.replace("push(model, ...", "push(model, 'net', force_new=True"),
        lambda entry: b.hub.resume(entry, model, optimizer),
    )


def without_state(b: Bench) -> Told:
    model: Any = NAMES["model"]
    b.hub.push(model, "net", step=1)
    told = call(b.hub.resume, "net", model, state={"loader": nn.Linear(1, 1)})
    text = told.text.replace("push(model, ...", "push(model, 'net', force_new=True").replace("': ...", "': model")
    return Told(text, lambda entry: b.hub.resume(entry, model, state={"loader": nn.Linear(2, 2)}))


def outputs_differ(b: Bench) -> Told:
    model = nets.PointNet()
    b.hub.push(model, "net", example=torch.ones(1, 3, 4))
    other = nets.PointNet()
    other.forward = lambda x: torch.zeros(1, 5)  # type: ignore[method-assign, assignment]
    told = call(b.hub.load, "net", model=other, verify="outputs")
    return Told(told.text, lambda **asked: b.hub.load("net", model=other))


def pruned(b: Bench) -> Told:
    told = no_rule(b)
    text = call(b.hub.prune, "net").text
    return Told(text or told.text, lambda **more: b.hub.prune("net", **more))


def tensors_of(kind: str) -> Callable[[Bench], Told]:
    made: dict[str, Callable[[], torch.Tensor]] = {
        "sparse": lambda: torch.eye(2).to_sparse(),
        "nested": lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
        "own": lambda: torch.ones(2).as_subclass(Own),
    }

    def cause(b: Bench) -> Told:
        told = call(b.hub.push, {"weight": made[kind]()}, "net")
        NAMES["tensor"] = made[kind]()
        return Told(told.text.replace("call .", "call tensor."), lambda tensor: b.hub.push({"weight": tensor}, "net"))

    return cause


class Own(torch.Tensor):
    pass


def a_whole_module(place: str) -> Callable[[Bench], Told]:
    def cause(b: Bench) -> Told:
        value: Any = nets.PointNet()
        return command(b, "push", b.file({"model": value, "epoch": 3} if place else value, "whole.pt"), "net")

    return cause


def arrays(b: Bench) -> Told:
    history = {"loss": numpy.ones(50), "accuracy": numpy.ones(50)}
    return command(b, "push", b.file(history, "history.pth"), "net")


def removing_a_model(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    return call(b.hub.rm, "net")


def a_program(b: Bench) -> Told:
    torch.jit.script(nn.Linear(2, 2)).save(str(b.folder / "program.pt"))
    return command(b, "push", b.folder / "program.pt", "net")


def an_unpacked_file(b: Bench) -> Told:
    subprocess.run([sys.executable, "-m", "zipfile", "-e", b.linear(), b.folder / "unpacked"], check=True)
    return command(b, "push", next((b.folder / "unpacked").glob("*")), "net")


def untrusted(b: Bench) -> Told:
    b.hub.push(b.file(reading.Two().state_dict()), "net", model="reading:Two")
    other = registry.Registry(b.folder / "other")
    b.hub.copy("net:v1", b.folder / "other")
    return Told(call(other.load, "net").text, lambda **more: other.load("net", **more))
