"""Every command, its answers and its refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from constructed import Dgcnn, Scaled
from invocation import run
from nets import PointNet

import registry
from registry.catalog.migration import HEAD


@pytest.fixture
def best(tmp_path: Path) -> Path:
    """What a training under DDP leaves behind."""
    torch.save({f"module.{name}": tensor for name, tensor in PointNet().state_dict().items()}, tmp_path / "best.pth")
    return tmp_path / "best.pth"


def test_a_push_prints_the_decision_and_the_reference(best: Path, home: Path) -> None:
    said = run("push", best, "--from-ddp", home=home).stdout
    assert "cut `module` at the root (ddp, declared): 11 names" in said
    assert "11 tensors" in said
    assert "stored best:v1" in said
    again = run("push", best, "--from-ddp", home=home).stdout
    assert "already stored as best:v1, pushed from best.pth; --force-new" in again and "cut" not in again


def test_the_way_of_a_version_through_every_command(best: Path, home: Path, tmp_path: Path) -> None:
    options = (
        "--from-ddp --model nets:PointNet --init num_classes=5 --world-size 4 --metric acc=0.9 --alias best --json"
    )
    pushed = run("push", best, "net", "--note", "the first", *options.split(), home=home)
    entry = json.loads(pushed.stdout)
    assert (entry["ref"], entry["world_size"], entry["init"]) == ("net:v1", 4, {"num_classes": 5})
    assert entry["unwrapping"]["cuts"][0]["evidence"] == "class"
    assert [e["ref"] for e in json.loads(run("list", "--json", home=home).stdout)] == ["net:v1"]
    assert "net:v1" in run("list", "--metric", "acc>0.5", home=home).stdout
    assert "no version" in run("list", "--metric", "acc>0.95", home=home).stdout
    for ref in ("net", "net:v1", "net:best", "net:latest", f"net@{entry['digest'][:6]}"):
        assert json.loads(run("show", ref, "--json", home=home).stdout)["digest"] == entry["digest"]
    assert "nets:PointNet" in run("show", "net", home=home).stdout
    assert "of net:v1 into PointNet; every byte checked" in run("load", "net:best", home=home).stdout
    report = json.loads(run("load", "net", "--cast", "float16", "--verify", "once", "--json", home=home).stdout)
    assert report["ref"] == "net:v1" and report["cast"]["head.weight"] == ["float32", "float16"]
    torch.save(PointNet().state_dict(), tmp_path / "other.pth")
    run("push", tmp_path / "other.pth", "net", "--parent", "net:best", home=home)
    assert json.loads(run("diff", "net:v1", "net:v2", "--json", home=home).stdout)["changed"]
    assert "differ" in run("diff", "net:v1", "net:v2", home=home).stdout
    run("export", "net:best", tmp_path / "out.pth", "--format", "as-saved", home=home)
    assert set(torch.load(tmp_path / "out.pth", weights_only=True)) == set(torch.load(best, weights_only=True))
    assert "alias" in run("rm", "net:v1", home=home, expect=1).stderr
    run("alias", "net:v2", "best", home=home)
    run("rm", "net:v1", home=home)
    assert "net:v1" in run("list", "--trash", home=home).stdout
    assert "other versions" not in run("restore", "net:v1", home=home).stdout
    run("rm", "net:v1", home=home)
    would = json.loads(run("gc", "--dry-run", "--grace", "0s", "--json", home=home).stdout)
    did = json.loads(run("gc", "--grace", "0s", "--json", home=home).stdout)
    assert (would["versions"], would["files"], would["nbytes"]) == (did["versions"], did["files"], did["nbytes"])
    assert did["versions"] == ["net:v1"]
    assert "no damage found" in run("audit", home=home).stdout
    verbs = {event["verb"] for event in json.loads(run("log", "--json", home=home).stdout)}
    assert {"push", "alias", "rm", "restore", "gc"} <= verbs
    assert "file system" in run("doctor", home=home).stdout
    assert HEAD in run("db", "current", home=home).stdout
    assert "current" in run("db", "upgrade", home=home).stdout


def test_an_inspection_stores_nothing(best: Path, home: Path) -> None:
    said = run("inspect", best, "--all", home=home).stdout
    assert "module.head.bias" in said
    assert "assumed" in said
    names = json.loads(run("inspect", best, "--json", home=home).stdout)["names"]
    assert names["module.head.bias"] == "head.bias"
    assert not home.exists()


def test_a_damaged_version_makes_the_audit_fail_by_name(best: Path, home: Path) -> None:
    run("push", best, home=home)
    blob = next((home / "blobs").rglob("*.safetensors"))
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    assert "best:v1" in run("audit", home=home, expect=1).stdout
    report = json.loads(run("audit", "--json", home=home, expect=1).stdout)
    assert report["faults"][0]["ref"] == "best:v1"
    run("audit", "--repair", "--source", best, home=home)
    run("audit", home=home)


BAD = {
    "no such file": (["push", "nowhere.pth"], "no such file"),
    "no checkpoint": (["push", "{text}"], "not a checkpoint"),
    "unknown model": (["show", "bets"], "best"),
    "unknown version": (["show", "best:v9"], "v1"),
    "no name": (["push", "{best}", "a name"], "a-name"),
    "two files": (["push", "{best}", "{text}"], "push one file at a time"),
    "a name of a file": (["push", "{best}", "epoch7.pth"], "epoch7.pth"),
    "export into another format": (["export", "best", "{out}.pth", "--format", "safetensors"], "use .safetensors"),
    "traversal": (["push", "{best}", "../../etc/passwd"], "name"),
    "version as alias": (["alias", "best", "v3"], "version"),
    "no module": (["push", "{best}", "--model", "nowhere:Net"], "nowhere"),
    "no class": (["push", "{best}", "--model", "nets:PointNot"], "PointNet"),
    "no model": (["push", "{best}", "--model", "nets:no_model", "--init", "dim=3"], "int"),
    "init that does not fit": (["push", "{best}", "--model", "nets:PointNet", "--init", "classes=3"], "classes"),
    "another class": (["push", "{best}", "--model", "nets:OnlyChild"], "does not fit"),
    "empty": (["push", "{empty}"], "no tensors"),
    "unknown wrapper": (["push", "{best}", "--from", "horovod"], "horovod"),
    "nothing in the trash": (["restore", "best"], "no such version of best is in the trash"),
    "not in the trash": (["restore", "best:v1"], "not in the trash"),
    "too large": (["push", "{best}", "--model", "nets:PointNet", "--example-shape", "999999999,999999999"], "memory"),
    "no device": (["load", "best", "--device", "nowhere"], "nowhere"),
    "load without a class": (["load", "best"], "model"),
    "unknown format": (["export", "best", "{out}", "--format", "onnx"], "onnx"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_stores_nothing(case: str, best: Path, home: Path, tmp_path: Path) -> None:
    run("push", best, home=home)
    (tmp_path / "text.pth").write_text("hello")
    torch.save({}, tmp_path / "empty.pth")
    places = {"best": best, "text": tmp_path / "text.pth", "empty": tmp_path / "empty.pth", "out": tmp_path / "out"}
    arguments, word = BAD[case]
    failed = run(*(argument.format(**places) for argument in arguments), home=home, expect=1)
    assert word in failed.stderr
    assert failed.stdout == ""
    assert len(json.loads(run("list", "--json", home=home).stdout)) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "push",
        "nothing",
        "push x --from-ddp --from-single",
        "load x --cast int9",
        "load x --verify twice",
        "push x --init 5",
        "gc --grace soon",
        "audit --source x",
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: str, home: Path) -> None:
    run(*arguments.split(), home=home, expect=2)


def test_a_class_that_takes_a_namespace_is_served(home: Path, tmp_path: Path) -> None:
    from argparse import Namespace

    from nets import NamespaceNet

    torch.save(NamespaceNet(Namespace(dim=3, out=2)).state_dict(), tmp_path / "net.pth")
    run("push", tmp_path / "net.pth", "--model", "nets:NamespaceNet", "--init-as", "namespace",
        "--init", '{"dim": 3, "out": 2}', home=home)  # fmt: skip


def test_what_comes_from_files_reaches_no_terminal_raw(home: Path, tmp_path: Path) -> None:
    hostile = "evil\x1b[31m\r\nweight\u202e"
    torch.save({hostile: torch.ones(1), "b": torch.ones(1)}, tmp_path / "net.pth")
    said = run("inspect", tmp_path / "net.pth", home=home).stdout
    said += run("push", tmp_path / "net.pth", "--note", "bell\a\x1b[2J", home=home).stdout
    said += run("show", "net", home=home).stdout + run("log", home=home).stdout
    assert not set("\x1b\r\a\u202e") & set(said)
    assert r"\x1b[31m" in said


LEAN = "import sys\nfrom registry.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\nprint(*sys.modules)"

HEAVY = ("torch", "rich", "alembic", "numpy", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql")
EXTRAS = ("lightning", "pytorch_lightning", "transformers", "accelerate")


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["show", "best"], ["log"]])
def test_short_commands_import_nothing_heavy(arguments: list[str], best: Path, home: Path) -> None:
    run("push", best, home=home)
    environment = {**os.environ, "REGISTRY_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", LEAN, *arguments], capture_output=True, text=True, env=environment)
    imported = set(done.stdout.splitlines()[-1].split())
    assert "registry" in imported
    assert not {*HEAVY, "registry.checkpoints", *EXTRAS} & imported
    assert "registry.blobs" not in imported or arguments == ["show", "best"]


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import registry, sys; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    assert not {"torch", "sqlalchemy", "rich", "alembic"} & set(imported)


def test_constructor_arguments_are_said_on_the_command_line(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    torch.save(Dgcnn(Namespace(k=3, dropout=0.0), 7).state_dict(), file)
    given = ["--init", "args.k=3", "--init", "args.dropout=0.25", "--init", "classes=7"]
    run("push", file, "net", "--model", "constructed:Dgcnn", *given, home=home)
    shown = run("show", "net", home=home).stdout
    assert "constructed:Dgcnn(args=Namespace(k=3, dropout=0.25), classes=7)" in shown
    assert json.loads(run("show", "net", "--json", home=home).stdout)["init"]["v"]["classes"] == 7
    run("load", "net", "--init", "args.k=3", "--init", "args.dropout=0.5", home=home)
    refused = run("load", "net", "--init", '{"args": 3}', "--init-as", "dict", home=home, expect=1)
    assert "constructed:Dgcnn cannot be built" in refused.stderr
    run("push", file, "net", "--init", "k=1", "--init", "k.a=2", home=home, expect=2)
    assert "--model" in run("push", file, "net", "--init", "classes=7", home=home, expect=1).stderr


def test_unknown_constructor_arguments_are_shown_as_such(home: Path) -> None:
    registry.Registry(home).push(Scaled(3), "net")
    assert "constructor arguments that are not known" in run("show", "net", home=home).stdout
    assert "--init" in run("load", "net", home=home, expect=1).stderr
    run("load", "net", "--init", "value=3", home=home)


def test_a_push_says_which_key_of_the_file_the_weights_were_at(home: Path, tmp_path: Path) -> None:
    torch.save({"epoch": 3, "net": PointNet().state_dict()}, tmp_path / "run.pth")
    assert "weights at `net` in run.pth" in run("push", tmp_path / "run.pth", home=home).stdout


def test_bare_weights_are_at_no_key(best: Path, home: Path) -> None:
    assert "weights at" not in run("push", best, home=home).stdout


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        ("push x.pth --world-size four", "give a whole number, such as 4"),
        ("push x.pth --world-size 0", "give a whole number of at least 1"),
        ("prune net --keep-last few", "give a whole number, such as 4"),
    ],
)
def test_what_is_not_a_number_is_said_in_a_users_words(arguments: str, way_out: str, home: Path) -> None:
    assert way_out in run(*arguments.split(), home=home, expect=2).stderr


@pytest.mark.parametrize("option", ["--metric acc", "--tag task", "--init width", "--init args.width", "--model img"])
def test_two_values_of_one_key_are_not_one(option: str, best: Path, home: Path) -> None:
    option, key = option.split()
    twice = [option, f"{key}=1", option, f"{key}=2"]
    assert f"{option} gives '{key}' two values" in run("push", best, "net", *twice, home=home, expect=2).stderr
    if option == "--tag":
        run("push", best, "net", option, f"{key}=1", option, f"{key}=1", home=home)
        assert "two values" in run("tag", "net", "split=a", "split=b", home=home, expect=2).stderr


def test_a_loaded_example_that_was_run_is_said(best: Path, home: Path) -> None:
    run(
        "push",
        best,
        "net",
        *["--model", "nets:PointNet", "--init", "num_classes=5", "--example-shape", "1,3,8"],
        home=home,
    )
    assert (
        "the outputs for its example are as they were stored"
        in run(*["load", "net", "--verify", "outputs"], home=home).stdout
    )


def test_what_the_class_does_not_have_is_left_out_of_a_push(home: Path, tmp_path: Path) -> None:
    import torch

    file = tmp_path / "net.pth"
    torch.save({"weight": torch.ones(2, 2), "bias": torch.ones(2), "loss.weight": torch.ones(3)}, file)
    named = (file, "--model", "torch.nn:Linear", "--init", '{"in_features": 2, "out_features": 2}')
    refusal = run("push", *named, home=home, expect=1).stderr
    assert "--allow-unexpected 'loss.weight'" in refusal
    assert "not stored: 'loss' (1 tensor)" in run("inspect", *named, "--allow-unexpected", "loss.*", home=home).stdout
    assert "not stored: 'loss' (1 tensor)" in run("push", *named, "--allow-unexpected", "loss.*", home=home).stdout
    run("load", "net", "--model", "torch.nn:Linear", home=home)
