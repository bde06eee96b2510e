"""Every command and every Python block of README and docs runs as it stands there, in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from interpreter import programs
from pages import PAGES, ROOT, RUN, blocks, said

HERE = Path(__file__).parent


def followed() -> list[Any]:
    """Return the pages that have something to run, each under the marker that it names."""
    found = []
    for page in PAGES:
        text = page.read_text()
        if any(block.language in RUN and not block.run_by for block in blocks(text)):
            marks = [getattr(pytest.mark, name) for name in said(text, "runs with")]
            found.append(pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks))
    return found


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``registry`` and ``python``, which are there at once."""
    folder = tmp_path_factory.mktemp("programs")
    address = str(folder / "socket")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("REGISTRY_", "HF_"))}
    process = subprocess.Popen(
        [sys.executable, str(HERE / "interpreter.py"), address], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    programs(folder / "bin", address)
    yield folder / "bin"
    process.kill()
    process.wait()


@pytest.mark.parametrize("page", followed())
def test_a_page_does_what_it_says(page: Path, interpreter: Path, tmp_path: Path) -> None:
    user, folder, keeps = (tmp_path / name for name in ("user", "folder", "keeps"))
    for each in (user, folder, keeps):
        each.mkdir()
    paths = (str(interpreter), str(Path(sys.executable).parent), os.environ["PATH"])
    environment = {
        "PATH": os.pathsep.join(paths),
        "HOME": str(user),
        "USER": "ann",
        "LANG": "C.UTF-8",
        "PAGE_KEEPS": str(keeps),
        "PYTHON_EXEC": str(interpreter / "python"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [interpreter / "python", HERE / "pages.py", page],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_that_can_be_run_is_passed_over(page: Path) -> None:
    """Commands stand in blocks that are run, and a block that another test runs is known to that test."""
    for block in blocks(page.read_text()):
        if block.run_by:
            text = (ROOT / block.run_by).read_text()
            assert page.name in text or block.code.strip().splitlines()[0].split("  #")[0] in text, block
        elif block.language not in RUN:
            commands = re.findall(r"^(?:\$ )?(?:registry|python|pip|torchrun|hf) .*", block.code, re.M)
            assert block.language in ("text", "ini", "nginx", "yaml", "sql", "json", "toml") or not commands, block
