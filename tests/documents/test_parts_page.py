"""The page on several models says what can be done, as it says it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from registry import Registry

PAGE = Path(__file__).parents[2] / "docs" / "parts.md"


def test_the_page_on_parts(home: Path, tmp_path: Path) -> None:
    models, *rest = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "models.py").write_text(models)
    (tmp_path / "page.py").write_text("\n".join(rest))
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['point', 'img']\n"
    hub = Registry(home)
    assert hub.get("from-file").digest == hub.get("cp").digest
    assert hub.get("from-file").attachments == ("training",)
    assert len(hub.list("class:Images")) == 2 and len(hub.list("class:models:Images")) == 2
    assert not hub.list("class:Image") and not hub.list("class:nets:Images")
