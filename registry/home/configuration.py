"""``HOME/registry.toml``: where the catalog and the bytes of a home are, when they are not in its folder.

    catalog = "env:REGISTRY_CATALOG"      # or "postgresql://USER:PASSWORD@HOST/DATABASE"
    blobs = "s3://bucket/prefix"
    cache = "/fast/disk/cache"            # of what is in a bucket; by default in the home's folder

Each may be left out; then it is in the folder, as of a home that has no such file. Of a home that was moved away the
file says where to, and nothing else:

    moved_to = "/other/home"
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors.home import InvalidConfiguration

if TYPE_CHECKING:
    from registry.catalog.address import DatabaseAddress

FILE = "registry.toml"

CACHE = "cache"
"""The folder of the cache in the home, where the file names no other one."""

_KEYS = ("catalog", "blobs", "cache", "moved_to")
_MOST_MOVES = 20


@dataclass(frozen=True)
class Configuration:
    """Where the parts of a home are; None of each that is in the folder."""

    catalog: str | None = None
    """The address of a database, or ``"env:NAME"``; a password may be in it, so it is shown to nobody."""
    blobs: str | None = None
    """A bucket's URL."""
    cache: str | None = None
    """A folder, ``~`` for the user's."""
    moved_to: str | None = None
    """The folder of the home that this one became."""

    def __repr__(self) -> str:
        return f"Configuration(blobs={self.blobs!r}, cache={self.cache!r}, moved_to={self.moved_to!r})"

    def address(self) -> DatabaseAddress | None:
        """Return where the catalog's database is; None where it is in the folder.

        Raises:
            InvalidDatabaseAddress
        """
        from registry.catalog.address import DatabaseAddress

        return None if self.catalog is None else DatabaseAddress.parse(self.catalog)

    def cache_in(self, folder: Path) -> Path:
        """Return where the cache is of a home's objects."""
        return folder / CACHE if self.cache is None else folder / Path(self.cache).expanduser()

    def encode(self) -> str:
        """Return it as the file has it."""
        return "".join(f"{key} = {_quoted(value)}\n" for key in _KEYS if (value := getattr(self, key)) is not None)


LOCAL = Configuration()


def read(folder: Path) -> Configuration:
    """Read the configuration of a home; one without the file has everything in its folder.

    Raises:
        InvalidConfiguration: the file cannot be read, or says something else.
    """
    path = folder / FILE
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return LOCAL
    except OSError as error:
        if not os.path.lexists(path):  # the folder cannot be entered, which is said when it is opened
            return LOCAL
        raise InvalidConfiguration(str(path), f"it cannot be read ({error.strerror or error})") from error
    import tomllib
    from difflib import get_close_matches

    try:
        said = tomllib.loads(text.decode())
    except UnicodeDecodeError as error:
        raise InvalidConfiguration(str(path), "it is not UTF-8") from error
    except ValueError as error:
        # The words of the parser name the place alone; what stands there may be a password.
        raise InvalidConfiguration(str(path), f"it is not TOML ({error})") from None
    for key, value in said.items():
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(_KEYS)}"
            raise InvalidConfiguration(str(path), f"it has an unknown key {key!a}{meant}")
        if not isinstance(value, str) or not value.strip():
            raise InvalidConfiguration(str(path), f'{key} is not a text; write {key} = "…"')
    return checked(Configuration(**said), str(path))


def checked(configuration: Configuration, source: str) -> Configuration:
    """Return a configuration that can be used.

    Raises:
        InvalidConfiguration: it says something that cannot be.
    """
    from registry.catalog.address import is_address

    if configuration.catalog is not None and not is_address(configuration.catalog):
        raise InvalidConfiguration(source, "catalog is not an address such as postgresql://HOST/DATABASE, or env:NAME")
    if configuration.blobs is not None:
        from urllib.parse import urlsplit

        url = urlsplit(configuration.blobs)
        if not url.scheme or not url.netloc or url.username or url.password:
            raise InvalidConfiguration(
                source, "blobs is not a URL such as s3://BUCKET/PREFIX (keys come from the environment)"
            )
    if configuration.moved_to is not None:
        if configuration != Configuration(moved_to=configuration.moved_to):
            raise InvalidConfiguration(source, "moved_to leads elsewhere, so that nothing else can stand beside it")
        if not Path(configuration.moved_to).is_absolute():
            raise InvalidConfiguration(source, "moved_to is not an absolute path")
    if configuration.cache is not None and configuration.blobs is None:
        raise InvalidConfiguration(source, "cache is for blobs in a bucket; give blobs, too")
    return configuration


def settled(folder: Path) -> Path:
    """Return the folder of the home that a home became, or the same one.

    Raises:
        InvalidConfiguration: it leads nowhere.
    """
    found = folder
    for _ in range(_MOST_MOVES):
        to = read(found).moved_to
        if to is None:
            return found
        found = Path(to)
    raise InvalidConfiguration(str(folder / FILE), "moved_to leads in a circle")


def write(folder: Path, configuration: Configuration) -> None:
    """Write the file of a home, whole or not at all; with a password in it, for this user alone.

    Raises:
        OSError
    """
    path = folder / FILE
    temporary = folder / f".{FILE}.{os.urandom(4).hex()}"
    is_spelled_out = configuration.catalog is not None and not configuration.catalog.startswith("env:")
    address = configuration.address() if is_spelled_out else None
    mode = 0o600 if address is not None and address.has_password else 0o644
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            file.write(configuration.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _quoted(text: str) -> str:
    """Write a text as a basic string of TOML, which has the escapes of JSON."""
    import json

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
