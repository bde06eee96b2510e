"""Where a bucket is, as a home's settings spell it. Pure."""

from __future__ import annotations

import re

from registry.errors.objects import InvalidBucket

SCHEMES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""What addresses begin with, and where their credentials are taken from."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")


def check_address(url: str) -> str:
    """Return an address of a bucket in its one spelling.

    Raises:
        InvalidBucket
    """
    scheme, mark, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if not mark or scheme.lower() not in SCHEMES:
        raise InvalidBucket(_without_secret(url), f"it begins with none of {', '.join(f'{s}://' for s in SCHEMES)}")
    if "@" in rest:
        raise InvalidBucket(_without_secret(url), "credentials are taken from the environment alone")
    if len(bucket) < 3:
        raise InvalidBucket(url, f"the name of a bucket has at least 3 characters, and '{bucket}' has {len(bucket)}")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidBucket(url, f"'{bucket}' is not a valid name of a bucket: 3 to 63 of a-z, 0-9, '-' and '.'")
    parts = [part for part in prefix.split("/") if part]
    if not all(part.isprintable() and part not in (".", "..") for part in parts) or set("?#\\") & set(prefix):
        raise InvalidBucket(url, "what follows the bucket is not a path")
    return f"{scheme.lower()}://{'/'.join((bucket, *parts))}"


def _without_secret(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//***@", url)
