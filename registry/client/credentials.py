"""The tokens of this user: of ``REGISTRY_TOKEN``, or of the file that ``registry login`` writes."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from pathlib import Path

from registry.client.address import ServerAddress
from registry.errors.client import InsecureToken, UnusableCredentials

VARIABLE = "REGISTRY_TOKEN"
ALLOW_HTTP = "REGISTRY_ALLOW_HTTP"


def token_for(address: ServerAddress) -> str | None:
    """Return the token to send to a server, or None.

    Raises:
        InsecureToken: there is one, and others could read it on its way.
        UnusableCredentials: the file of tokens cannot be read.
    """
    token = os.environ.get(VARIABLE) or _read().get(address.url)
    if token is None:
        return None
    if address.scheme == "http" and not address.is_loopback and os.environ.get(ALLOW_HTTP) != "1":
        raise InsecureToken(address.url)
    return token


def remember(address: ServerAddress, token: str) -> Path:
    """Keep a token for a server in the file, which this user alone may read, and return where that is.

    Raises:
        UnusableCredentials
    """
    return _write({**_read(), address.url: token})


def forget(address: ServerAddress) -> bool:
    """Take the token of a server out of the file; return whether there was one.

    Raises:
        UnusableCredentials
    """
    tokens = _read()
    if tokens.pop(address.url, None) is None:
        return False
    _write(tokens)
    return True


def path() -> Path:
    """Return where the file is."""
    from platformdirs import user_config_path

    return user_config_path("checkpoint-registry", appauthor=False) / "tokens.json"


def _read() -> dict[str, str]:
    try:
        found = json.loads(path().read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise UnusableCredentials(str(path()), getattr(error, "strerror", None) or "it is not valid JSON") from None
    if not isinstance(found, dict) or not all(isinstance(token, str) for token in found.values()):
        raise UnusableCredentials(str(path()), "it does not hold tokens by address")
    return found


def _write(tokens: dict[str, str]) -> Path:
    place = path()
    temporary = place.with_name(f"{place.name}.{uuid.uuid4().hex}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(handle, "w") as file:
            json.dump(tokens, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(place)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UnusableCredentials(str(place), error.strerror or str(error)) from None
    return place
