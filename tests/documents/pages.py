"""The pages: which blocks they have, and how these are run, in their order and in one folder.

What a page says of itself stands in comments of HTML, which its readers do not see:

- ``<!-- given: mixed_folder -->``: what there is before it begins, a function of ``given.py``;
- ``<!-- runs with: ecosystem -->``: the marker under which the test of the page runs;
- ``<!-- run by tests/server/test_serving_page.py -->`` before a block: another test runs this one.

A command that is to fail says so behind it: ``# ends with 1``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("bash", "console", "python")
"""Languages of blocks that are run."""


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    language: str
    code: str
    line: int
    """Of its first line in the page, from 0."""
    run_by: str
    """The file that runs it instead of the test of its page; empty for most."""


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page, in their order."""
    found = []
    for match in re.finditer(r"(?:<!-- run by (\S+) -->\n)?^( *)```(\w*)[^\n]*\n(.*?)^ *```$", text, re.S | re.M):
        run_by, indent, language, code = match.groups()
        lines = [line.removeprefix(indent) for line in code.splitlines()]
        at = text[: match.start(4)].count("\n")
        found.append(Block(language, "\n".join(lines) + "\n", at, run_by or ""))
    return found


def said(text: str, key: str) -> list[str]:
    """Return what a page says of itself under ``given`` or ``runs with``."""
    found = re.findall(rf"^<!-- {key}: (.*?) -->$", text, re.M)
    return [word.strip() for line in found for word in line.split(",")]


def follow(page: Path) -> None:
    """Do what a page says, in the current folder; the first thing that is not as it says ends it."""
    import given

    text = page.read_text()
    names: dict[str, object] = {"__name__": "__main__"}
    for what in said(text, "given"):
        names |= getattr(given, what)() or {}
    sys.path.insert(0, str(Path.cwd()))
    for block in blocks(text):
        if block.run_by or block.language not in RUN:
            continue
        if block.language == "python":
            _python(page, block, names)
        elif block.language == "bash":
            _bash(page, block, block.code)
        else:
            _console(page, block)


def _python(page: Path, block: Block, names: dict[str, object]) -> None:
    first = block.code.split("\n", 1)[0]
    if name := re.fullmatch(r"# ([\w/]+\.py)", first):
        path = Path(name[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code)
        return
    exec(compile("\n" * block.line + block.code, str(page), "exec"), names)


def _console(page: Path, block: Block) -> None:
    """Run each command, and compare what it prints with what stands below it; ``...`` is anything."""
    for part in re.split(r"^\$ ", block.code, flags=re.M)[1:]:
        command, _, wanted = re.sub(r"\\\n>? *", "", part).partition("\n")
        printed = _bash(page, block, command)
        kinds = {"...": ".*?", "…": r"\S*?"}
        pieces = re.split(r"(\s*\.\.\.\s*|…|\s+)", wanted.strip())
        pattern = "".join(
            kinds.get(piece.strip(), r"\s+" if piece.isspace() else re.escape(piece)) for piece in pieces if piece
        )
        if wanted.strip() and not re.fullmatch(rf"\s*{pattern}\s*", printed, re.S):
            raise AssertionError(f"{page.name}: {command}\nwanted:\n{wanted}\nprinted:\n{printed}")


def _bash(page: Path, block: Block, code: str) -> str:
    """Run lines in the shell that all blocks of the page share: folder, environment and all."""
    code = re.sub(r"^(.*?)\s+# ends with (\d)$", r"if \1; then false; else test $? -eq \2; fi", code, flags=re.M)
    keep = Path(os.environ["PAGE_KEEPS"])
    script = f"set -euo pipefail\ntrap 'env -0 >{keep}/environment; pwd >{keep}/folder' EXIT\n{code}"
    done = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, end="")
    if done.returncode or "Traceback (most recent" in done.stdout:
        raise AssertionError(f"{page.name}:{block.line}: ended with {done.returncode}:\n{code}\n{done.stdout}")
    for pair in (keep / "environment").read_text().split("\0"):
        name, _, value = pair.partition("=")
        if name:
            os.environ[name] = value
    os.chdir((keep / "folder").read_text().rstrip("\n"))
    return done.stdout


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.path.insert(1, str(Path(__file__).parents[1]))
    follow(Path(sys.argv[1]))
