"""The commands of docs/serving.md, and those of README.md that serve, are run as they stand there.

What only root may do, and what installs, is played by programs of the same names, which do it in a folder of the test.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from served import serving

from registry import Registry

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text()
CALLED = f'#!/bin/sh\nexec {sys.executable} -c "from registry.cli import main; main()" "$@"\n'
PLAYED = {
    "registry": CALLED,
    "pip": '#!/bin/sh\ntest "$1" = install\n',
    "python3": (
        '#!/bin/sh\ntest "$1 $2" = "-m venv" && mkdir -p "$3/bin"\n'
        'cp "$(dirname "$0")/registry" "$(dirname "$0")/pip" "$3/bin"\n'
    ),
    "useradd": '#!/bin/sh\nwhile [ $# -gt 1 ]; do [ "$1" = --home-dir ] && mkdir -p "$2"; shift; done\necho user $1\n',
    "systemctl": "#!/bin/sh\necho systemctl $*\n",
    "sudo": '#!/bin/sh\nshift 2\nexec env "$@"\n',
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.S)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine on which root may install, below a folder."""
    (tmp_path / "bin").mkdir()
    for name, text in PLAYED.items():
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    for folder in ("etc/systemd/system", "etc/nginx/conf.d", "opt", "srv"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "registry.service").write_text(blocks(PAGE, "ini")[0])
    (tmp_path / "registry.conf").write_text(blocks(PAGE, "nginx")[0])
    return tmp_path


def shell(script: str, machine: Path, given: str = "", **environment: str) -> str:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
    environment = {
        **inherited,
        "PATH": f"{machine / 'bin'}:{os.environ['PATH']}",
        "HOME": str(machine),
        "XDG_CONFIG_HOME": str(machine / "config"),
        "XDG_DATA_HOME": str(machine / "data"),
        "XDG_CACHE_HOME": str(machine / "cache"),
        **environment,
    }
    done = subprocess.run(
        ["bash", "-ec", script], cwd=machine, env=environment, input=given, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_lines_for_a_group_install_a_service_whose_token_opens_it(machine: Path) -> None:
    at_the_disk, at_everybodys, _ = blocks(PAGE, "bash")
    for folder in ("/opt/", "/srv/", "/etc/"):
        at_the_disk = at_the_disk.replace(f" {folder}", f" {machine}{folder}").replace(
            f"={folder}", f"={machine}{folder}"
        )
    said = shell(at_the_disk, machine)
    assert "user registry" in said and "systemctl enable --now registry" in said and "systemctl reload nginx" in said
    assert (machine / "etc/systemd/system/registry.service").exists()
    found = re.search(r"^crt_\S+$", said, re.M)
    assert found is not None
    home = machine / "srv/registry"
    Registry(home).push({"weight": torch.zeros(3)}, "net")
    with serving(home, "--no-anonymous") as served:
        listed = shell(at_everybodys.replace("https://hub.lab.example", served.url), machine, f"{found[0]}\n")
    assert "net:v1" in listed


def test_the_lines_on_tokens_do_what_they_say(machine: Path) -> None:
    said = shell(blocks(PAGE, "bash")[2], machine, REGISTRY_HOME=str(machine / "home"))
    assert "team/*" in said and "revoked 1 token of ann" in said


@pytest.mark.parametrize(
    "lines",
    [
        re.sub(r"^\$ ", "", re.sub(r"^(?!\$ ).*\n", "", blocks(PAGE, "console")[0], flags=re.M), flags=re.M),
        next(block for block in blocks((ROOT / "README.md").read_text(), "bash") if "serve" in block),
    ],
    ids=["serving.md", "README.md"],
)
def test_a_server_begins_with_two_lines(lines: str, machine: Path) -> None:
    Registry(machine / "home").push({"weight": torch.zeros(3)}, "net")
    lines = lines.replace("registry serve", f"exec {machine}/bin/registry serve --port 0")
    environment = {
        **os.environ,
        "PATH": f"{machine / 'bin'}:{os.environ['PATH']}",
        "REGISTRY_HOME": str(machine / "home"),
    }
    process = subprocess.Popen(
        ["bash", "-ec", lines],
        cwd=machine,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    while not (said := process.stdout.readline()).startswith("serving "):
        assert process.poll() is None
        time.sleep(0.01)
    assert f"serving {machine / 'home'} at http://127.0.0.1:" in said
    process.send_signal(signal.SIGTERM)
    process.wait(60)
