"""What the server of a bucket answers, in words of ours. Pure."""

from __future__ import annotations

import re

from registry.blobs.backends.addresses import SCHEMES
from registry.errors.blobs import ObjectsUnreachable
from registry.errors.objects import ClocksApart, InvalidBucket, ObjectsForbidden, UnknownBucket
from registry.errors.root import RegistryError


def said(url: str, text: str) -> RegistryError | None:
    """Return the error that an answer names by a code of its own, or None where it names none.

    Args:
        text: what the library raised.
    """
    match = re.search(r"<Code>(\w+)</Code>", text)
    code = match[1] if match else ""
    if code in ("NoSuchBucket", "ContainerNotFound"):
        return UnknownBucket(url)
    if code == "InvalidBucketName":
        return InvalidBucket(url, "the server does not take the name of the bucket")
    if code == "RequestTimeTooSkewed":
        return ClocksApart(url)
    if code and status_of(text) in (401, 403):
        return forbidden(url, code)
    summary = text.partition("\n\nDebug source:")[0]
    if "service account file" in summary:  # Google's credentials are a file, which is not there or not one of these
        return forbidden(url, " ".join(summary.partition("error: ")[2].split())[:200])
    if "169.254.169.254" in text or "metadata.google.internal" in text or "must be specified" in text:
        # Without any, the library asks the machine that a cloud would run this on.
        return forbidden(url, "there are none")
    return None


def unreached(url: str, text: str) -> RegistryError:
    """Return the error that an answer stands for, whatever it says."""
    status = status_of(text)
    if status in (401, 403):
        return said(url, text) or forbidden(url, f"HTTP {status}")
    return said(url, text) or ObjectsUnreachable(url, _reason(text))


def forbidden(url: str, reason: str) -> ObjectsForbidden:
    """Return the error of credentials that do not do."""
    return ObjectsForbidden(url, reason, SCHEMES[url.partition("://")[0]])


def ends_before(text: str) -> bool:
    """Whether a part was asked for that is behind the end of an object."""
    return "InvalidRange" in text or status_of(text) == 416 or "Range started at" in text


def status_of(text: str) -> int | None:
    """Return the number that HTTP has for an answer; None where there was none."""
    match = re.search(r"status code: (\d{3})", text)
    return int(match[1]) if match else None


def _reason(text: str) -> str:
    """Return what the library reports, without the request and its debugging output."""
    summary, _, debug = text.partition("\n\nDebug source:")
    if match := re.search(r"<Message>([^<]{1,300})</Message>", summary):
        return match[1].strip().rstrip(".")
    if match := re.search(r'message: "([^"]+)"', debug):
        return match[1].lower()
    if "dns error" in debug or "failed to lookup" in debug:
        return "its name cannot be resolved"
    if "kind: Timeout" in debug or "TimedOut" in debug:
        return "it does not answer in time"
    if "kind: Connect" in debug:
        return "no connection can be made"
    if (status := status_of(summary)) is not None:
        return f"it answers with HTTP {status}"
    return " ".join(summary.split())[:300] or "it does not answer"
