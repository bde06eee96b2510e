"""Where the registry is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from registry.errors.catalog import HomeUnusable

HOME_VARIABLE = "REGISTRY_HOME"


def home(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Return the absolute path of the home: the given one, else ``REGISTRY_HOME``, else the user's data directory.

    Raises:
        HomeUnusable: no folder can be where its spelling leads.
    """
    chosen = explicit if explicit is not None else os.environ.get(HOME_VARIABLE)
    if chosen:
        try:
            found = Path(chosen).expanduser().absolute()
        except RuntimeError as error:
            raise HomeUnusable(os.fspath(chosen), "nobody known here has this home directory") from error
        try:
            found.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise HomeUnusable(str(found), "its symbolic links lead in a circle") from error
        return found
    from platformdirs import user_data_path

    return user_data_path("checkpoint-registry", appauthor=False)
