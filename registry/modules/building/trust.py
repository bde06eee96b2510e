"""The rule of trust: whether a class that a version names may be imported. It is asked before every such import.

Importing runs code, and whoever wrote the version chose which. So a recorded class is imported only if this call names
it, or its package is one that the user trusts, or nobody but this user can have written the version.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import sys
import sysconfig
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from registry.errors.trust import InvalidTrust, StandardLibraryTarget, UnreadableConfiguration, UntrustedClass

VARIABLE = "REGISTRY_TRUST"
"""Environment variable with the trusted packages, separated by commas."""

BUILDERS = {"registry.integrations.configuration:configured": "model"}
"""Functions of this package that build a class which is named by one of their arguments, by that argument."""

_DATABASE = "registry.db"
_FILES = ("", _DATABASE, f"{_DATABASE}-wal", f"{_DATABASE}-shm")
"""What decides, in a home, which class a version names; the home itself first."""


@dataclass(frozen=True)
class Recorded:
    """A class as a version names it."""

    ref: str
    target: str
    origin: str | None
    """Where the version was copied from; None if it was pushed into this home."""
    home: Path
    named_by_push: bool
    """Whether whoever pushed it wrote the name, rather than that it was read off a live model."""
    server: str | None = None
    """The database that has the version, where that is no file of the home."""


@dataclass(frozen=True)
class User:
    """Who runs this process."""

    uid: int
    own_group: int | None
    """The group that has no member but this user, if there is one."""


@dataclass(frozen=True)
class Access:
    """Who may change a file or a folder."""

    owner: int
    group: int
    mode: int
    has_acl: bool = False
    """Whether an access control list names more users or groups; its mask stands in the group's bits then."""


def require_trusted(recorded: Recorded, *, named: bool = False) -> None:
    """Raise unless a recorded class may be imported.

    Args:
        named: this call names the very class.

    Raises:
        UntrustedClass: nothing speaks for it; StandardLibraryTarget: nothing could.
    """
    require_foreign(recorded.target, recorded.target.partition(":")[0])
    if named:
        return
    doubt = _doubt(recorded)
    if doubt is not None and top_level(recorded.target) not in trusted_packages(recorded.home):
        raise UntrustedClass(recorded.ref, recorded.target, doubt)


def require_foreign(target: str, *modules: object) -> None:
    """Raise if a module on the way to a target is one of Python's standard library.

    Raises:
        StandardLibraryTarget
    """
    for module in modules:
        if isinstance(module, str) and _is_standard(module):
            raise StandardLibraryTarget(target, module)


def _is_standard(module: str) -> bool:
    if top_level(module) in sys.stdlib_module_names:
        return True
    # Python's list leaves out some that it ships, such as its own tests. Imported, they are known by where they are.
    file = getattr(sys.modules.get(module), "__file__", None)
    return isinstance(file, str) and _is_of_the_library(file)


@cache
def _is_of_the_library(file: str) -> bool:
    found, library = Path(file).resolve(), Path(sysconfig.get_path("stdlib")).resolve()
    installed = ("site-packages", "dist-packages")
    return found.is_relative_to(library) and found.relative_to(library).parts[0] not in installed


def imports_of(target: str, init: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is imported to build a target: itself, or, of a builder, what its arguments name."""
    if target not in BUILDERS:
        return (target,)
    return (str(init[BUILDERS[target]]),) if BUILDERS[target] in init else ()


def top_level(name: str) -> str:
    """Return the package that holds a module or a ``"package.module:Class"``."""
    return name.partition(":")[0].partition(".")[0]


def trusted_packages(home: Path) -> frozenset[str]:
    """Return the packages that the user trusts, by environment variable and configuration file.

    A configuration that lies in the home is the home's word and not the user's, so it is not read.

    Raises:
        InvalidTrust, UnreadableConfiguration
    """
    given = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    return _checked(VARIABLE, filter(None, given)) | _configured(home)


def exposure(path: Path, access: Access, user: User) -> str | None:
    """Return a clause that says who else may change a file, or None if nobody may."""
    if access.owner != user.uid:
        return f"{path} belongs to another user (uid {access.owner})"
    if access.mode & stat.S_IWOTH:
        return f"{path} can be written by everybody (chmod o-w)"
    if access.mode & stat.S_IWGRP and (access.has_acl or access.group != user.own_group):
        return f"{path} can be written by others of its group (chmod g-w)"
    return None


def _doubt(recorded: Recorded) -> str | None:
    """Return a clause that says why somebody else may have written a version, or None."""
    if recorded.origin is not None:
        return f"the version comes from {recorded.origin}"
    if recorded.server is not None:
        return f"it stands in {recorded.server}, where others may have written it"
    found: dict[Path, Access] = {}
    for name in _FILES:
        path = recorded.home / name
        try:
            found[path] = _access(path)
        except FileNotFoundError:
            if name in ("", _DATABASE):
                return f"{path} is not there"
        except OSError as error:
            return f"{path} cannot be examined ({error.strerror})"
    uid = os.geteuid()
    # To ask who is in a group may take a while where users are kept on a server.
    asks_group = any(access.mode & stat.S_IWGRP for access in found.values())
    user = User(uid, _own_group(uid) if asks_group else None)
    return next(filter(None, (exposure(path, access, user) for path, access in found.items())), None)


def _access(path: Path) -> Access:
    status = path.stat()
    return Access(status.st_uid, status.st_gid, status.st_mode, _has_acl(path))


def _has_acl(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except (OSError, AttributeError):  # none is set, or the system has none
        return False


def _own_group(uid: int) -> int | None:
    """Return the user's private group: named like the user, primary to nobody else, with no other member."""
    try:
        user = pwd.getpwuid(uid)
        group = grp.getgrgid(user.pw_gid)
    except KeyError:
        return None
    is_shared = group.gr_name != user.pw_name or set(group.gr_mem) - {user.pw_name}
    if is_shared or any(other.pw_gid == user.pw_gid and other.pw_uid != uid for other in pwd.getpwall()):
        return None
    return user.pw_gid


def _configured(home: Path) -> frozenset[str]:
    from platformdirs import user_config_path

    try:
        path = user_config_path("checkpoint-registry", appauthor=False) / "config.toml"
    except RuntimeError:
        return frozenset()
    # A user without a home directory has no configuration: '~' would be a folder where the program was started.
    if not path.is_absolute() or path.resolve().is_relative_to(home.resolve()):
        return frozenset()
    try:
        with path.open("rb") as file:
            found: Any = tomllib.load(file).get("trust", [])
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise UnreadableConfiguration(str(path), error.strerror or type(error).__name__) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnreadableConfiguration(str(path), f"it is not valid TOML: {error}") from error
    if not isinstance(found, list):
        raise InvalidTrust(f"'trust' in {path}", repr(found))
    return _checked(f"'trust' in {path}", found)


def _checked(where: str, names: Iterable[object]) -> frozenset[str]:
    checked = set()
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidTrust(where, repr(name))
        checked.add(name)
    return frozenset(checked)
