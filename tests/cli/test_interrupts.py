"""Ctrl-C ends a command in one sentence, which says whether anything was stored."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from invocation import COMMAND
from torch import nn

MODEL = """
import pathlib, time
from torch import nn

class Net(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
        pathlib.Path("begun").touch()
        time.sleep(600)
"""
BEFORE = {
    "nothing was stored or changed": "",
    "something may have been stored": "import registry; registry.push('./net.pth', 'other')",
}


@pytest.mark.parametrize(("said", "before"), BEFORE.items())
def test_an_interrupted_push_says_whether_anything_was_stored(said: str, before: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(MODEL)
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "net.pth")
    program = f"{before}\nfrom registry.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "push", "net.pth", "--model", "slow:Net"],
        cwd=tmp_path,
        env={**os.environ, "REGISTRY_HOME": str(tmp_path / "home")},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate()
    assert process.returncode == 130
    assert said in printed and printed.splitlines()[-1].startswith("registry: interrupted; ")
    assert "Traceback" not in printed


def test_an_interrupted_demonstration_is_one_sentence_for_all_of_its_processes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    while not (tmp_path / "registry-demo" / "_train.store").exists():  # a process has begun, and imports or trains
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    try:
        _, printed = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert printed.splitlines()[-1].startswith("registry: interrupted; ") and "Traceback" not in printed


def test_an_interrupt_while_the_process_ends_says_nothing() -> None:
    last = "import atexit, os, signal; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))"
    code = f"{last}; from registry.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
