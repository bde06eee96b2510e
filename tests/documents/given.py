"""What there is before a page begins: each function fills the current folder, and returns names for its Python."""

from __future__ import annotations

import shutil
from pathlib import Path


def mixed_folder() -> None:
    """A folder of old checkpoints, and one of its files beside it."""
    import old_checkpoints

    old_checkpoints.mixed(Path("old"))
    shutil.copy(Path("old/several.pth"), "several.pth")
