"""Where the files lie that a trainer is given to go on from."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.attachments.training.job import attachable
from registry.errors.checkpoints import UnencodableValue, UnstorableTensor
from registry.errors.exports import CannotExport
from registry.errors.warned import warn


def place(given: str | os.PathLike[str] | None, name: str) -> Path:
    """Return the path of a new file or folder: the given one, else one that is gone when this process ends.

    Raises:
        CannotExport: something is there already.
    """
    if given is None:
        folder = tempfile.mkdtemp(prefix="registry-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder) / name
    path = Path(given)
    if os.path.lexists(path):
        raise CannotExport(str(path), "it exists already; remove it or give another name")
    return path


class Said:
    """A state that a trainer says and takes back itself, from the file that it is written to."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = dict(state)

    def state_dict(self) -> dict[str, Any]:
        """Return it."""
        return self._state

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Leave it to the trainer."""


def storable(state: Mapping[str, Any], of: str) -> dict[str, Any]:
    """Return what of a state can be stored; of the rest it warns, since it is no reason to lose the checkpoint."""
    kept = {}
    for key, value in state.items():
        try:
            attachable(key, value)
            kept[key] = value
        except (UnencodableValue, UnstorableTensor) as error:
            warn(f"the state of {key} is not kept with {of}: {error}")
    return kept
