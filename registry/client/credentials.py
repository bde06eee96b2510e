"""The tokens that this user has for servers: from the environment, or a file that only this user can read.

No token is ever part of a message.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from registry.client.address import with_scheme
from registry.errors.tokens import (
    InvalidAddress,
    NotLoggedIn,
    SecretInAddress,
    UnprotectedToken,
    UnreadableLogins,
    UnusableToken,
)

TOKEN_VARIABLE = "REGISTRY_TOKEN"
ALLOW_HTTP_VARIABLE = "REGISTRY_ALLOW_HTTP"


def token_for(url: str) -> str | None:
    """Return the token to send to a server: ``REGISTRY_TOKEN``, else the one of ``registry login``; None for none.

    Raises:
        InvalidAddress, SecretInAddress: it is no address, or has a password in it.
        UnprotectedToken: there is one, and anybody on the way could read it.
        UnusableToken, UnreadableLogins: there is one, and it cannot be used.
    """
    origin = origin_of(url)
    given = os.environ.get(TOKEN_VARIABLE)
    token = checked_token(given, TOKEN_VARIABLE) if given else _read(logins_file()).get(origin)
    if token is not None:
        require_protection(origin)
    return token


def source_of_token() -> str:
    """Return where the token that is sent was found: the variable, which goes first, or the file."""
    return TOKEN_VARIABLE if os.environ.get(TOKEN_VARIABLE) else str(logins_file())


def remember(url: str, token: str) -> Path:
    """Keep the token of a server for this user, and return the file that has it.

    Raises:
        RegistryError: as ``token_for``, or the file cannot be written.
    """
    origin, path = origin_of(url), logins_file()
    require_protection(origin)
    _write(path, {**_read(path), origin: checked_token(token, "what was given")})
    return path


def forget(url: str) -> None:
    """Forget the token of a server.

    Raises:
        NotLoggedIn: there is none.
    """
    origin, path = origin_of(url), logins_file()
    tokens = dict(_read(path))
    if tokens.pop(origin, None) is None:
        raise NotLoggedIn(origin)
    _write(path, tokens)


def logins_file() -> Path:
    """Return where the tokens of this user are."""
    from platformdirs import user_config_path

    return user_config_path("checkpoint-registry", appauthor=False) / "tokens.json"


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address, in their one spelling: what a token is kept for.

    Raises:
        InvalidAddress, SecretInAddress
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidAddress(url if "@" not in url else "…") from None
    if "@" in parts.netloc:
        raise SecretInAddress(host or "the server")
    if parts.scheme not in ("http", "https") or not host or not host.isascii() or not host.isprintable():
        raise InvalidAddress(url if "@" not in url else "…", near=with_scheme(url))
    shown = f"[{host}]" if ":" in host else host.rstrip(".")
    usual = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{shown}" + (f":{port}" if port not in (None, usual) else "")


def require_protection(origin: str) -> None:
    """Let a token pass where nobody on the way can read it.

    Raises:
        UnprotectedToken: it would travel over plain http, and nobody allowed that.
    """
    parts = urlsplit(origin)
    if parts.scheme == "https" or is_loopback(parts.hostname or ""):
        return
    if os.environ.get(ALLOW_HTTP_VARIABLE) != "1":
        raise UnprotectedToken(origin)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, whatever any name server says."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_token(token: str, source: str) -> str:
    """Return a token that can stand in a header.

    Raises:
        UnusableToken: it cannot; without saying what it is.
    """
    found = token.strip()
    if not found or len(found) > 1000 or any(not "!" <= each <= "~" for each in found):
        raise UnusableToken(source)
    return found


def _read(path: Path) -> Mapping[str, str]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            found = json.loads(file.read(1 << 20))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UnreadableLogins(str(path), error.strerror or "it cannot be read") from None
    except ValueError:
        raise UnreadableLogins(str(path), "it is damaged; delete it, and log in again") from None
    if stat.S_IMODE(mode) & 0o077:
        raise UnreadableLogins(str(path), f"other users may read them; run `chmod 600 {path}`")
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise UnreadableLogins(str(path), "it is damaged; delete it, and log in again")
    return found


def _write(path: Path, tokens: Mapping[str, str]) -> None:
    """Replace the file, whole or not at all; it is this user's alone from its first byte on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tokens-")  # with mode 0600
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(dict(tokens), file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise UnreadableLogins(str(path), error.strerror or "it cannot be written") from None
