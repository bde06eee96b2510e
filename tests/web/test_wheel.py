"""The pages are in the wheel, with their templates and what they are styled and moved by."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

import served
from served import Served

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]


def test_an_installed_wheel_serves_every_page_and_its_files(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    source = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.decode().split("\0"):
        if name.startswith(("registry/", "checkpoint_registry/", "cli/", "server/", "migrations/")) or name in _BESIDE:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    code = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    built = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    wheel, place = tmp_path / built.stdout.split()[-1], tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), str(wheel)]
    subprocess.run([*command, "--disable-pip-version-check"], check=True, capture_output=True)
    # Without what this checkout is installed by: the wheel's package is the only one of its name.
    packages = os.pathsep.join([str(place), sysconfig.get_path("purelib"), *_beside_the_checkout()])
    run = [sys.executable, "-S", "-P", *served.COMMAND[1:], "serve", "--port", "0", "--home", str(tmp_path / "home")]
    with (tmp_path / "log").open("w") as log:
        environment = {**os.environ, "PYTHONPATH": packages}
        process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=log, text=True, cwd=tmp_path, env=environment)
    try:
        running = Served(process, tmp_path / "log")
        for name in (each.name for each in (ROOT / "server" / "pages" / "static").iterdir()):
            answer = running.get(f"/static/{name}")
            assert answer.status == 200
            assert answer.body == (ROOT / "server" / "pages" / "static" / name).read_bytes()
        for path in ("/", "/versions", "/activity", "/storage", "/trash", "/compare", "/login"):
            assert running.get(path, Accept="text/html").status == 200, path
    finally:
        process.kill()


_BESIDE = ("pyproject.toml", "README.md", "LICENSE")


def _beside_the_checkout() -> list[str]:
    """Folders of packages that come by path files, such as those of an environment below this one."""
    return [each for each in sys.path if each.endswith("site-packages") and each != sysconfig.get_path("purelib")]
