"""Causes of sentences on the command line."""

from __future__ import annotations

import contextlib
import sqlite3
from argparse import Namespace
from pathlib import Path

import nets
import reading
import torch
from advising import LINEAR, Bench, Told, command
from invocation import run
from torch import nn

import registry
from registry import errors


def mixed(b: Bench) -> Told:
    state = {"module.a.weight": torch.ones(2), "a.weight": torch.ones(2), "module.b.weight": torch.ones(2)}
    file = b.file(state)
    return Told(command(b, "push", file, "net", "--from-ddp").text, lambda *more: b.run("push", file, "net", *more))


def declared_otherwise(b: Bench) -> Told:
    file = b.file({f"module.{name}": tensor for name, tensor in nn.Linear(2, 2).state_dict().items()})
    told = command(b, "push", file, "net", "--from", "opacus")
    return Told(told.text, lambda *more: b.run("push", file, "net", *more))


def declared_single(b: Bench) -> Told:
    state = {f"module.{name}": tensor for name, tensor in nn.Linear(2, 2).state_dict().items()}
    file = b.file(state)
    told = command(b, "push", file, "net", "--from-single", *LINEAR)
    return Told(told.text, lambda *more: b.run("push", file, "net", *LINEAR, *more))


def two_sets(b: Bench) -> Told:
    state = nn.Linear(2, 2).state_dict()
    return command(b, "push", b.file({"model": state, "ema": {n: t + 1 for n, t in state.items()}}), "net")


def a_part_fits(b: Bench) -> Told:
    state = nn.Linear(2, 2).state_dict()
    both = {f"{part}.{name}": tensor for part in ("online", "target") for name, tensor in state.items()}
    return command(b, "push", b.file(both), "net", *LINEAR)


def left_over(b: Bench) -> Told:
    more = {"loss.a.scale": torch.ones(1), "loss.a.shift": torch.ones(1), "step[0]": torch.ones(1)}
    return command(b, "push", b.linear(**more), "net", *LINEAR)


def arguments_alone(b: Bench) -> Told:
    file = b.file(reading.Two().state_dict())
    told = command(b, "push", file, "net", "--init", "{}")
    return Told(told.text.replace("package.module:Class", "reading:Two"), told.again)


def allowance_alone(b: Bench) -> Told:
    told = command(b, "push", b.file(reading.Two().state_dict()), "net", "--allow-unexpected", "x.*")
    return Told(told.text.replace("package.module:Class", "reading:Two"), told.again)


def lightning(b: Bench) -> Path:
    state = {**nn.Linear(2, 2).state_dict()}
    value = {"state_dict": state, "hyper_parameters": {"in_features": 2, "out_features": 2}}
    return b.file({**value, "pytorch-lightning_version": "2.4.0", "epoch": 1, "global_step": 3})


def offered(b: Bench) -> Told:
    return command(b, "push", lightning(b), "net", "--model", "torch.nn:Linear")


def offered_beside_others(b: Bench) -> Told:
    value = {"state_dict": nn.Linear(2, 2).state_dict(), "hyper_parameters": {"bias": True}}
    file = b.file({**value, "pytorch-lightning_version": "2.4.0", "epoch": 1, "global_step": 3})
    return command(b, "push", file, "net", *LINEAR, expect=0)


def not_in_the_file(b: Bench) -> Told:
    told = command(b, "push", b.linear(), "net", *LINEAR, "--init-from-file")
    return Told(told.text, lambda flag: b.run("push", b.folder / "net.pth", "net", *LINEAR))


def in_one_object(b: Bench) -> Told:
    file = b.file(nets.NamespaceNet(Namespace(dim=3, out=2)).state_dict())
    return command(b, "push", file, "net", "--model", "nets:NamespaceNet", "--init", "dim=3", "--init", "out=2")


def aliased(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net", aliases=["best"])
    return command(b, "rm", "net:v1")


def trashed(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    b.hub.push(nn.Linear(2, 2), "net")
    b.hub.rm("net:v1")
    return command(b, "show", "net:v1")


def configured_twice(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    told = command(b, "init", "--catalog", "postgresql://nowhere.invalid/models")
    return Told(told.text.replace("FOLDER", "./there"), told.again)


def moved_onto_another(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    registry.Registry(b.folder / "there").push(nn.Linear(3, 3), "other")
    told = command(b, "move", "--to", b.folder / "there")
    return Told(told.text.replace("FOLDER", "./there"), told.again)


def all_trashed(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    b.hub.rm("net:v1")
    return command(b, "show", "net")


def unknown(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    return command(b, "show", "altogether-another")


def damaged(b: Bench) -> Told:
    file = b.linear()
    entry = b.hub.push(file, "net")
    blob = next((b.hub.home / "blobs").rglob("*.safetensors"))
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(content)
    told = command(b, "export", entry.ref, b.folder / "out.pth")
    return Told(told.text.replace("--source FILE", f"--source {file}").replace("`, with ", " "), told.again)


def edited(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    b.hub.close()
    with contextlib.closing(sqlite3.connect(b.hub.home / "registry.db")) as db, db:
        db.execute("UPDATE versions SET weights = replace(weights, substr(weights, 1, 4), 'ffff')")
    return command(b, "export", "net:v1", b.folder / "out.pth")


def no_home(b: Bench) -> Told:
    (b.folder / "file").write_text("x")
    file = b.linear()
    said = run("push", file, "net", home=b.folder / "file", expect=1)
    return Told(
        said.stderr.replace("--home or", f"--home {b.folder / 'other'} or"),
        lambda *more: b.run("push", file, "net", *more),
    )


def a_query_of_a_version(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net", aliases=["best"])
    return command(b, "list", "net:best", expect=None)  # type: ignore[arg-type]


def no_rule(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net", metrics={"acc": 0.5})
    return command(b, "prune", "net")


def many_left_out(b: Bench) -> Told:
    beside = {f"part{n}": {"weight": torch.ones(3)} for n in range(25)}
    file = b.file({"model": nn.Linear(2, 2).state_dict(), **beside})
    told = command(b, "push", file, "net", "--weights", "model", expect=0)
    return Told(told.text.replace("registry inspect", f"registry inspect {file} --weights model"), told.again)


def a_seed_too_large(b: Bench) -> Told:
    words = ("push", b.linear(), "net", *LINEAR, "--example-shape", "1,2", "--seed", str(1 << 70))
    return Told(b.run(*words, expect=1), lambda *more: b.run(*words[:-2], *more))


def an_example_without_class(b: Bench) -> Told:
    file = b.linear()
    told = command(b, "push", file, "net", "--example-shape", "1,2")
    words = ("push", file, "net", "--example-shape", "1,2", *LINEAR[2:])
    return Told(told.text.replace("pkg.mod:Class", "torch.nn:Linear"), lambda *more: b.run(*words, *more))


def an_optimizer(b: Bench) -> Told:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    file = b.file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    told = command(b, "push", file, "net", expect=0)

    def again(flag: str) -> None:
        said = b.run("push", file, "kept", flag, *LINEAR[1:])
        assert "optimizer is not kept" not in said

    return Told(told.text, again)


def two_models(b: Bench) -> Told:
    for name, size in (("a", 2), ("b", 3)):
        torch.save(nn.Linear(size, size).state_dict(), b.folder / f"{name}.pth")
    told = command(b, "import", b.folder, "--name", "both")
    return Told(told.text, lambda flag: b.run("import", b.folder))


def moved_to_the_trash(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net", aliases=["best"])
    b.hub.push(nn.Linear(2, 2), "net", aliases=["best"])
    b.hub.rm("net:v1")
    told = command(b, "alias", "--rollback", "net:best")
    return Told(told.text.replace("`registry alias`", "`registry alias net:v2 best`"), told.again)


def never_moved(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net", aliases=["best"])
    return command(b, "alias", "--rollback", "net:best")


def another_shape_on_the_command_line(b: Bench) -> Told:
    b.hub.push({**nn.Linear(2, 2).state_dict(), "weight": torch.ones(3, 2), "bias": torch.ones(3)}, "net")
    told = command(b, "load", "net", *LINEAR)
    return Told(told.text, lambda flag: told.again(flag, "weight", flag, "bias"))


def lacking_on_the_command_line(b: Bench) -> Told:
    b.hub.push({"weight": torch.ones(2, 2)}, "net")
    told = command(b, "load", "net", *LINEAR)
    return Told(told.text, lambda flag: told.again(flag, "bias"))


def a_folder_of_files(b: Bench) -> Told:
    for name in ("one.pth", "two.pth"):
        b.file(nn.Linear(2, 2).state_dict(), name)
    return command(b, "push", b.folder)


def full(b: Bench) -> Told:
    """Word it as it is worded; tests about full disks cause it."""
    b.hub.push(nn.Linear(2, 2), "net")
    return Told(str(errors.DatabaseFull(str(b.hub.home))), print)


def a_database_for_a_home(b: Bench) -> Told:
    told = command(b, "list", "--home", "postgresql://ann@db/models")
    return Told(told.text, print)


def older(b: Bench) -> Told:
    """Word it as it is worded; it needs a home of another user, which tests about upgrades have."""
    b.hub.push(nn.Linear(2, 2), "net")
    return Told(str(errors.OlderDatabase(str(b.hub.home), "0003", "0004")), print)


def named_with_an_alias(b: Bench) -> Told:
    file = b.linear()
    told = command(b, "push", file, "net:best")
    return Told(told.text, lambda flag: b.run("push", file, "net", flag, "best"))


def vacant(b: Bench) -> Told:
    told = command(b, "list")
    return Told(told.text.replace("push FILE", f"push {b.linear()}"), told.again)


def a_file_for_a_reference(b: Bench) -> Told:
    b.hub.push(b.linear(), "first")
    with contextlib.chdir(b.folder):
        told = command(b, "show", "net.pth")
    return Told(told.text.replace("`registry check`", "`registry check first ./net.pth`"), told.again)


def a_model_for_a_version(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    return command(b, "rm", "net")


def a_part_of_one_model(b: Bench) -> Told:
    b.hub.push(nn.Linear(2, 2), "net")
    words = ("export", "net", b.folder / "out.pth")
    return Told(command(b, *words, "--part", "img").text, lambda flag: b.run(*words))
