"""What reaches a terminal, a pipe, a script; and how a command is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from invocation import COMMAND, on_a_terminal, run

from registry import Registry
from registry.catalog.catalog import Catalog


@pytest.fixture
def net(tmp_path: Path) -> Path:
    torch.save(
        {f"layers.{number}.weight": torch.full((2,), float(number)) for number in range(400)}, tmp_path / "net.pth"
    )
    return tmp_path / "net.pth"


def test_a_document_is_json_even_where_the_figures_are_no_numbers(home: Path, tmp_path: Path) -> None:
    for value in (1.0, float("nan")):
        torch.save({"a": torch.tensor([value]), "b": torch.zeros(1)}, tmp_path / "net.pth")
        run("push", tmp_path / "net.pth", home=home)
    document = run("diff", "net:v1", "net:v2", "--json", home=home).stdout
    changed = json.loads(document, parse_constant=pytest.fail)["changed"]
    assert [(change["name"], change["norm"]) for change in changed] == [("a", "nan")]


@pytest.mark.parametrize(
    ("words", "left"),
    [("push net.pth net", "something may have been stored"), ("list --json", "nothing was"), ("--help", "nothing was")],
)
def test_an_output_that_cannot_be_written_is_one_sentence(words: str, left: str, net: Path, home: Path) -> None:
    Registry(home).push({"weight": torch.ones(2)}, "other")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *words.split()],
            cwd=net.parent,
            env={**os.environ, "REGISTRY_HOME": str(home)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"registry: the output cannot be written (No space left on device); {left}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", ["push net.pth net", "list", "--help"])
def test_an_output_that_was_closed_is_missed_by_nobody(words: str, net: Path, home: Path) -> None:
    Registry(home).push({"weight": torch.ones(2)}, "other")
    program = [sys.executable, "-c", "import os, sys; os.close(1); os.execv(sys.argv[1], sys.argv[1:])"]
    variables = {**os.environ, "REGISTRY_HOME": str(home)}
    done = subprocess.run(
        [*program, *COMMAND, *words.split()], cwd=net.parent, env=variables, stderr=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_line_feed_in_a_note_begins_no_line(net: Path, home: Path) -> None:
    run("push", net, "--note", "fine\nversion  other:v9", home=home)
    assert not [line for line in run("show", "net", home=home).stdout.splitlines() if line.startswith("version  other")]


def test_a_line_feed_in_a_file_or_tensor_name_begins_no_line(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "net\nstored other:v9"
    torch.save({"a\nstored other:v9": torch.ones(1), "b": torch.ones(1)}, file)
    run("push", file, "net", home=home)
    said = run("inspect", file, home=home).stdout + run("show", "net", home=home).stdout
    assert "\nstored other" not in said


def test_long_lists_are_cut_and_all_shows_them(net: Path, home: Path, tmp_path: Path) -> None:
    run("push", net, home=home)
    torch.save({f"layers.{number}.weight": torch.zeros(2) for number in range(400)}, tmp_path / "other.pth")
    run("push", tmp_path / "other.pth", "net", home=home)
    assert len(run("inspect", net, home=home).stdout.splitlines()) < 20
    assert len(run("inspect", net, "--all", home=home).stdout.splitlines()) > 400
    short = run("diff", "net:v1", "net:v2", home=home).stdout.splitlines()
    assert short[-2:] == ["and 379 more; --all shows them", "equal: 1 tensor; different: 399 tensors"]
    assert len(run("diff", "net:v1", "net:v2", "--all", home=home).stdout.splitlines()) == 401


def test_a_reader_who_has_enough_is_no_error(net: Path, home: Path) -> None:
    command = [*COMMAND, "inspect", str(net), "--all"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait()


def test_an_interrupted_push_stores_nothing_and_is_exit_code_130(net: Path, home: Path, tmp_path: Path) -> None:
    (tmp_path / "sleeping.py").write_text(
        "import pathlib, time, torch\nclass Net(torch.nn.Module):\n    def __init__(self):\n"
        "        pathlib.Path('begun').touch()\n        time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [*COMMAND, "push", "net.pth", "--model", "sleeping:Net"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not home.exists()


BAR = """
import time
from registry.cli.progress import progress_bar
with progress_bar({doing!r}) as progress:
    progress(1, 100)
    time.sleep(1.2)
    progress(50, 100)
    time.sleep(0.3)
"""


def drawn(doing: str) -> str:
    """Return what a bar draws on a terminal."""
    return on_a_terminal([sys.executable, "-c", BAR.format(doing=doing)], "stderr")


def test_a_bar_is_drawn_on_a_terminal_and_acts_out_no_file_name() -> None:
    seen = drawn("storing [red]\x1b[2Jnet.pth")
    assert r"storing [red]\x1b[2Jnet.pth" in seen
    assert "\x1b[2J" not in seen


def test_no_bar_is_drawn_into_a_pipe() -> None:
    done = subprocess.run([sys.executable, "-c", BAR.format(doing="storing")], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_log_of_nothing_says_so_and_one_of_an_unknown_name_fails_and_names_what_is_near(home: Path) -> None:
    Catalog(home).close()
    assert run("log", home=home).stdout == "nothing has happened yet\n"
    Registry(home).push({"a": torch.ones(1)}, "team/pointnet")
    assert run("log", "--verb", "gc", home=home).stdout == "no event matches\n"
    said = run("log", "pointnett", home=home, expect=1)
    assert said.stderr == f"registry: there is no model 'pointnett' in {home}; did you mean team/pointnet?\n"


def test_an_export_that_cannot_be_written_is_one_sentence(net: Path, home: Path) -> None:
    run("push", net, home=home)
    for format in ("safetensors", "pth"):
        said = run("export", "net", "/proc/net.out", "--format", format, home=home, expect=1).stderr
        assert "cannot export to /proc/net.out: No such file or directory" in said


def test_an_export_can_be_read_by_whom_the_umask_lets(net: Path, home: Path, tmp_path: Path) -> None:
    run("push", net, home=home)
    (tmp_path / "plain").touch()
    for format in ("safetensors", "pth"):
        run("export", "net", tmp_path / format, "--format", format, home=home)
        assert (tmp_path / format).stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_version_is_said(home: Path) -> None:
    assert run("--version", home=home).stdout.startswith("registry 0.")


def test_an_interrupt_while_the_command_is_still_imported_is_exit_code_130(tmp_path: Path, home: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*COMMAND, "list"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "registry: interrupted; nothing was stored or changed\n"
