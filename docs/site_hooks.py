"""What mkdocs is told beside ``mkdocs.yml``: pages from the repository's root, and the pages that are not here yet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FROM_ROOT = {"index.md": "README.md", "changelog.md": "CHANGELOG.md"}
REPOSITORY = "https://github.com/checkpoint-registry/checkpoint-registry/blob/main/"


def on_config(config: Any) -> Any:
    """Leave out of the navigation what is not in this checkout."""
    config["nav"] = _kept(config["nav"])
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages whose text stands in the repository's root."""
    from mkdocs.structure.files import File

    for page, source in FROM_ROOT.items():
        files.append(File.generated(config, page, content=_moved((ROOT / source).read_text())))
    return files


def _kept(nav: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for item in nav:
        ((title, target),) = item.items()
        if isinstance(target, list):
            kept.append({title: _kept(target)})
        elif target in FROM_ROOT or (ROOT / "docs" / target).exists():
            kept.append(item)
    return kept


def _moved(text: str) -> str:
    """Return a text of the root whose links lead on from ``docs/``."""

    def moved(found: re.Match[str]) -> str:
        link = found[1]
        if "://" in link or link.startswith("#"):
            return found[0]
        if link.startswith("docs/"):
            return f"]({link.removeprefix('docs/')})"
        of_root = {source: page for page, source in FROM_ROOT.items()}
        return f"]({of_root.get(link, REPOSITORY + link)})"

    return re.sub(r"\]\(([^)]+)\)", moved, text)
