"""Why a server could not be asked, in words. Pure."""

from __future__ import annotations

import re
from typing import Any

from urllib3.exceptions import NameResolutionError, NewConnectionError, SSLError, TimeoutError

_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""What OpenSSL says of an answer that is no TLS at all."""


def reason_of(error: BaseException) -> str:
    """Word what a connection failed by: what a user can act on in our words, all else in the system's."""
    reason: Any = getattr(error, "reason", None) or error
    if isinstance(reason, SSLError):
        return _of_tls(str(reason))
    if isinstance(reason, NameResolutionError):
        return "no name server knows this name"
    # Nothing that listens is a kind of waiting too long, to urllib3.
    if isinstance(reason, TimeoutError) and not isinstance(reason, NewConnectionError):
        return "it took too long to answer"
    text = str(reason).rpartition(": ")[2].strip(" .')\"")
    return re.sub(r"^\[Errno -?\d+\] ", "", text)[:200] or type(error).__name__


def _of_tls(text: str) -> str:
    if any(word in text for word in _NOT_TLS):
        return "it does not speak TLS, so its address begins with http://"
    why = re.search(r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: ([^(']+)", text)
    if why is not None:
        return f"its certificate is not one that this machine trusts ({why[1].strip()})"
    found = re.search(r"\] ([^(']+)", text)
    return f"TLS failed ({found[1].strip() if found else text[:200]})"
