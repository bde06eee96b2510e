"""Where a registry is, and who says so."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from registry.client.address import ServerAddress, is_served, with_scheme
from registry.errors.catalog import HomeUnusable
from registry.errors.home import NoDefaultHome, NotAHome
from registry.errors.tokens import InvalidAddress
from registry.home.configuration import FILE

HOME_VARIABLE = "REGISTRY_HOME"
_OTHER_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
ARGUMENT, DEFAULT = "the argument home", "the default"
"""Sources of a place, beside ``--home`` and the variable."""


@dataclass(frozen=True)
class HomePlace(os.PathLike[str]):
    """The folder of a registry, which need not be there, or a server."""

    address: Path | str
    """The absolute path of the folder, or the URL of the server."""
    source: str
    """What named it: ``--home``, ``REGISTRY_HOME``, the argument of a call, or nothing but the default."""

    def __fspath__(self) -> str:
        return str(self.address)

    @property
    def folder(self) -> Path:
        """The folder.

        Raises:
            HomeUnusable: it is a server.
        """
        if isinstance(self.address, str):
            raise HomeUnusable(self.address, "it is a server, and this needs the folder itself")
        return self.address


def home_place(explicit: str | os.PathLike[str] | None = None, source: str = ARGUMENT) -> HomePlace:
    """Return the place that is given, else that of ``REGISTRY_HOME``, else one in the user's data directory.

    Raises:
        HomeUnusable: no folder can be where its spelling leads.
        InvalidAddress, SecretInAddress, NotAHome: it is a URL, and not that of a server.
        NoDefaultHome: none is given, and this user has no home directory.
    """
    if isinstance(explicit, HomePlace):
        return explicit
    if explicit is not None and os.fspath(explicit):
        # A path is a path, whatever it is called.
        is_path = isinstance(explicit, os.PathLike)
        return HomePlace((_absolute if is_path else _address)(os.fspath(explicit)), source)
    if chosen := os.environ.get(HOME_VARIABLE):
        return HomePlace(_address(chosen), HOME_VARIABLE)
    from platformdirs import user_data_path

    try:
        found = user_data_path("checkpoint-registry", appauthor=False)
    except RuntimeError as error:  # nobody has this user's number, and HOME is not set
        raise NoDefaultHome(os.getuid()) from error
    if not found.is_absolute():  # where an older platformdirs leaves '~' as it is
        raise NoDefaultHome(os.getuid())
    return HomePlace(found, DEFAULT)


def is_made(folder: Path) -> bool:
    """Whether there is a registry in a folder, or something that only opening it can tell from one."""
    try:
        os.lstat(folder / "registry.db")
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def has_bytes(folder: Path) -> bool:
    """Whether a folder without a registry has what one leaves: its bytes, or copies of its database."""
    return any(os.path.lexists(folder / each) for each in ("blobs", "backups"))


def _address(chosen: str) -> Path | str:
    if is_served(chosen):
        return ServerAddress.parse(chosen).url
    # A folder of such a name is made by nobody who means one; it may be there already.
    if (near := with_scheme(chosen)) and not os.path.lexists(chosen):
        raise InvalidAddress(chosen, near)
    if scheme := _OTHER_SCHEME.match(chosen):
        raise NotAHome(scheme[1])
    return _absolute(chosen)


def _absolute(chosen: str) -> Path:
    try:
        found = Path(chosen).expanduser().absolute()
    except RuntimeError as error:
        raise HomeUnusable(chosen, "nobody known here has this home directory") from error
    try:
        found.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise HomeUnusable(str(found), "its symbolic links lead in a circle") from error
    # What says where the parts of a home are stands for its folder.
    return found.parent if found.name == FILE and found.is_file() else found
