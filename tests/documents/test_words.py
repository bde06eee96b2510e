"""What the project says to its users is in one vocabulary: what a word is called, and what it is not called."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [*sorted((ROOT / "registry").rglob("*.py")), *sorted((ROOT / "cli").rglob("*.py"))]
SPOKEN = {"registry/registry.py", "registry/__init__.py", *(f"registry/integrations/{name}.py" for name in ("lightning",
    "transformers", "accelerate", "retention"))}  # fmt: skip
"""Where docstrings are for users, too. All of the command line's are its help, which is in docs/commands.md."""

SAY_INSTEAD = {
    r"(?<!there )(?<!there\n)\b(?:is|are|be) no (?!longer\b|more\b)[a-z]": "X is not a valid Y",
    r"\b(?:is|are) nothing that\b": "it cannot be ...",
    r"\bcut names?\b|\bhonest(?:ly)?\b": "bare names; names that legitimately contain module.",
    r"\benclosures?\b": "attachment",
    r"^beside$": "attached",
    r"\bfigures?\b": "metric, or measurement",
    r"\brot\b|\brots\b|\bheals?\b|\bput(?:ting)? right\b|\bdisk (?:has )?change": "damaged; verify; repair; restore",
    r"\bthat the name has\b|\bname that has (?:these|the) weights\b": "the model already has these weights",
    r"\bso many\b": "at most N, newest first",
    r"\binit arguments\b": "constructor arguments (init)",
    r"\bcatalogues?\b|\w+(?:ni|ri|li|ti|gni|ci)[s]e[sd]?\b(?<!promise)(?<!promised)(?<!promises)(?<!otherwise)"
    r"(?<!precise)(?<!likewise)(?<!exercise)(?<!exercises)(?<!exercised)(?<!concise)(?<!noise)(?<!rise)(?<!raise)"
    r"(?<!raises)(?<!raised)(?<!arise)(?<!arises)|\w+isation\b|\b\w*(?:colour|neighbour|favour|behaviour)\w*":
        "American spelling",
    r"\w\(\\?[\"']\w+\\?[\"']: ": "PointNet(num_classes=40), as Python has it",
    r"\brightly\b": "correctly",
    r"\bas its stamp says\b|\bsurrounds it\b|\bthe usual cure\b|\bmakes? no new version\b": "see the sentence in docs",
    r"\bOnly say\b|\bmay differ you name\b|\bstands on\b|\bsays where most\b|\bnothing has happened to nothing\b":
        "Show what would ...",
    r"\bskipped with a word\b|\bonly garbage\b|\bmade again from its\b|\ball as they were stored\b":
        "what happens, in the order of doing",
    r"\bholds no one\b|\bno such (?:figure|one)\b": "has no unique set of weights named ...",
}  # fmt: skip
"""What is not said, as a pattern, and what is said instead."""


def spoken(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module that users can read: all but docstrings, and these where they are for users.

    Words by themselves are keys, but for the command line's.
    """
    tree = ast.parse(path.read_text())
    documents = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body
        else:
            body = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        for child in body:
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                documents.add(child.value)
    is_for_users = str(path.relative_to(ROOT)) in SPOKEN or path.is_relative_to(ROOT / "cli")
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            inside.update(ast.walk(node))
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            is_said = " " in node.value or path.is_relative_to(ROOT / "cli")
            if is_said and (node not in documents or (is_for_users and node in _of_public(tree))):
                yield node.lineno, node.value


def _of_public(tree: ast.AST) -> set[ast.AST]:
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            first = node.body[0]
            if isinstance(first, ast.Expr):
                found.add(first.value)
    return found


def unsaid(text: str) -> list[str]:
    return [
        f"{found[0]!r}: say {instead}"
        for pattern, instead in SAY_INSTEAD.items()
        for found in re.finditer(pattern, text, re.I)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_in_the_words_of_the_project(page: Path) -> None:
    lines = enumerate(page.read_text().splitlines(), 1)
    assert [(number, wrong) for number, line in lines for wrong in unsaid(line)] == []


def test_help_and_errors_are_in_the_words_of_the_project() -> None:
    wrong = [
        (f"{path.relative_to(ROOT)}:{line}", each)
        for path in SOURCES
        for line, text in spoken(path)
        for each in unsaid(text)
    ]
    assert wrong == []
