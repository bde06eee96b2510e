"""What is public has its place in the reference, and the pages that are generated are current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import registry
from registry import errors
from registry.cli.app import GROUPS, PURPOSES, build
from registry.errors.root import RegistryError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def headings(page: str) -> set[str]:
    return set(re.findall(r"^#{2,3} (.+)$", (DOCS / page).read_text(), re.M))


@pytest.mark.parametrize("page", ["commands", "api", "troubleshooting"])
def test_a_generated_page_is_current(page: str) -> None:
    code = f"import sys; sys.path.insert(0, 'docs'); import generate_{page} as it; print(it.page(), end='')"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made == (DOCS / f"{page}.md").read_text(), "run `make generated`"


def test_every_public_name_has_its_place() -> None:
    assert set(registry.__all__) <= headings("api.md")


def test_every_error_has_its_heading_with_its_words() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RegistryError)]
    assert {kind.__name__ for kind in kinds} <= headings("troubleshooting.md")
    sections = (DOCS / "troubleshooting.md").read_text().split("\n### ")[1:]
    assert all("\nCode `" in section for section in sections)
    silent = [section.splitlines()[0] for section in sections if "\n> " not in section]
    assert set(silent) <= {"FitError", "ModelError", "ParallelError", "RegistryError"}


def test_every_command_has_its_section_and_its_purpose() -> None:
    named = {name for names in PURPOSES.values() for name in names}
    root = typer.main.get_command(build())
    assert set(root.commands) == named  # type: ignore[attr-defined]
    assert {f"registry {name}" for name in named} <= headings("commands.md")
    assert set(GROUPS) <= named


def test_every_verb_says_what_it_takes() -> None:
    """Each argument that its name does not explain is in the docstring; so is what is raised."""
    from inspect import getdoc, signature

    for verb in registry.VERBS:
        method = getattr(registry.Registry, verb)
        document = getdoc(method) or ""
        if "Args:" in document:
            given = document.split("Args:")[1]
            known = set(signature(method).parameters)
            described = set(re.findall(r"^    ([a-z_]+):", given, re.M))
            assert described <= known, (verb, described - known)


def test_the_site_has_every_page() -> None:
    nav = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    there = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert there <= nav


def test_help_is_grouped_by_purpose_and_wide_on_a_wide_terminal() -> None:
    code = "import sys; sys.argv = ['registry', '--help']; from registry.cli import main; main()"
    narrow, wide = (_printed(code, columns) for columns in ("60", "140"))
    assert max(map(len, narrow.splitlines())) <= 60 < max(map(len, wide.splitlines())) <= 120
    assert [line.split(":")[0] for line in wide.splitlines() if re.fullmatch(r"[A-Z][a-z ]+:", line)] == [
        "Options",
        *PURPOSES,
    ]


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_a_summary_is_whole_on_a_terminal_of_80_columns(group: str) -> None:
    words = [*group.split(), "--help"]
    said = _printed(f"import sys; sys.argv = ['registry', *{words}]; from registry.cli import main; main()", "80")
    assert "..." not in said.partition("\n")[2]


def _printed(code: str, columns: str) -> str:
    environment = {"COLUMNS": columns, "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout
