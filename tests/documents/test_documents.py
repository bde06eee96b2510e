"""What is written about the project is true of it."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import typer.main

from registry.cli.app import build

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_command_has_an_example() -> None:
    sections = (ROOT / "docs" / "commands.md").read_text().split("\n## ")[2:]
    for section in sections:
        if "Commands:" not in section:
            assert "Example: registry" in section, section.splitlines()[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_exists_with_its_options(page: Path) -> None:
    root = typer.main.get_command(build())
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"^\$? ?registry ([a-z].*)$", "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.S)), re.M):
        words = line.split("#")[0].split()
        command = root.commands.get(words[0])  # type: ignore[attr-defined]
        assert command is not None, line
        command = getattr(command, "commands", {}).get(words[1] if len(words) > 1 else "", command)
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known | {"--help"}, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_documents_compiles(page: Path) -> None:
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        compile(code, str(page), "exec")


def project() -> str:
    return (ROOT / "pyproject.toml").read_text()


def test_every_dependency_is_justified() -> None:
    listed = re.search(r"^dependencies = \[(.*?)\]", project(), re.S | re.M)
    assert listed is not None
    wanted = set(re.findall(r'"([a-z0-9-]+)>=', listed[1]))
    assert (
        set(re.findall(r"^\| ([a-z0-9-]+) \|", (ROOT / "docs" / "dependencies.md").read_text(), re.M)) - {"package"}
        == wanted
    )


def test_the_packages_listed_are_the_folders_on_disk() -> None:
    listed = re.search(r"^packages = \[(.*?)\]", project(), re.S | re.M)
    assert listed is not None
    beside = {f"registry.{name}": ROOT / name for name in ("cli", "migrations", "server")}
    beside["checkpoint_registry"] = ROOT / "checkpoint_registry"
    folders = {"registry": ROOT / "registry", **beside}
    found = set()
    for name, folder in folders.items():
        for init in folder.rglob("__init__.py"):
            inside = init.parent.relative_to(folder).parts
            found.add(".".join((name, *inside)))
    assert set(re.findall(r'"((?:checkpoint_)?registry[\w.]*)"', listed[1])) == found


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_build_installs_registry_alone(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    code = f"import setuptools.build_meta as b, sys; print(b.build_{kind}(sys.argv[1]))"
    source = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    built = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    file = tmp_path / built.stdout.split()[-1]
    if kind == "sdist":
        import tarfile

        with tarfile.open(file) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        assert {"cli/app.py", "migrations/versions/0001_tables.py", "registry/py.typed", "pyproject.toml"} <= names
        return
    names = set(zipfile.ZipFile(file).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"checkpoint_registry", "registry"}
    assert {"registry/cli/app.py", "registry/migrations/versions/0001_tables.py", "registry/py.typed"} <= names
