"""Where the registry is."""

from __future__ import annotations

import os
from pathlib import Path

HOME_VARIABLE = "REGISTRY_HOME"


def home(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Return the absolute path of the home: the given one, else ``REGISTRY_HOME``, else the user's data directory."""
    chosen = explicit if explicit is not None else os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("checkpoint-registry", appauthor=False)
