"""A push and a cold load through a bucket, against what boto3 and the library below us do with the same bytes.

``REGISTRY_BENCHMARK_BUCKET=s3://bucket/prefix`` says where; its server and credentials are those of the environment
(``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ...). Each run has a place of its own there, and deletes what it has put.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.row import Row, at_most
from benchmarks.timing import rounds, timed
from benchmarks.workshop import Workshop
from registry import Registry

VARIABLE = "REGISTRY_BENCHMARK_BUCKET"

PUSHING = "the server's disk, and before it a durable copy in the cache, hashed"
LOADING = "the server, and then the disk of the cache and the blake3 of every tensor"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Push one checkpoint, load it where nothing is cached, and move a file of its size by other means."""
    path = workshop.checkpoint(workshop.scale.gpt)
    size = f"{path.stat().st_size / 1e9:.2g} GB"
    push = Row("buckets", f"push of a {size} .pth to a bucket", "boto3 upload_file", at_most(2.0), "s", limit=PUSHING)
    load = Row("buckets", f"cold load of {size} from a bucket", "boto3 download_file", at_most(2.0), "s", limit=LOADING)
    raw = Row("buckets", f"cold load of {size} from a bucket", "obstore get", at_most(2.0), "s", limit=LOADING)
    if why := _lacking():
        yield from (_skipped(row, why) for row in (push, load, raw))
        return
    url = f"{os.environ[VARIABLE].rstrip('/')}/{uuid.uuid4().hex}"
    home, target = workshop.folder / "buckets", workshop.folder / "fetched"
    home.mkdir()
    (home / "registry.toml").write_text(f'blobs = "{url}"\n')
    client, (bucket, key) = _client(), _place(url)

    def empty() -> None:
        _clear(url)
        for each in home.iterdir():
            if each.name != "registry.toml":
                shutil.rmtree(each) if each.is_dir() else each.unlink()
        os.sync()

    def uncached() -> None:
        shutil.rmtree(home / "cache", ignore_errors=True)
        os.sync()

    def fresh() -> None:
        target.unlink(missing_ok=True)
        os.sync()

    try:
        pushed = rounds(
            {
                "push": timed(lambda: Registry(home).push(path, "pushed", from_="ddp"), before=empty),
                "boto3": timed(lambda: client.upload_file(str(path), bucket, f"{key}/other/boto3"), before=os.sync),
            },
            workshop.pairs,
        )
        Registry(home).push(path, "pushed", from_="ddp")
        loaded = rounds(
            {
                "load": timed(lambda: Registry(home).state_dict("pushed"), before=uncached),
                "boto3": timed(lambda: client.download_file(bucket, f"{key}/other/boto3", str(target)), before=fresh),
                "get": timed(lambda: _get(url, "other/boto3", target), before=fresh),
            },
            workshop.pairs,
        )
    finally:
        _clear(url, None)
        shutil.rmtree(home)
        target.unlink(missing_ok=True)
    yield _with(push, pushed["push"], pushed["boto3"])
    yield _with(load, loaded["load"], loaded["boto3"])
    yield _with(raw, loaded["load"], loaded["get"])


def _lacking() -> str:
    """Return why nothing can be measured; empty where it can."""
    if not os.environ.get(VARIABLE):
        return f"{VARIABLE} names no bucket"
    lacking = [name for name in ("obstore", "boto3") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(lacking)} not installed" if lacking else ""


def _skipped(row: Row, why: str) -> Row:
    return Row(row.family, row.what, row.against, row.goal, row.unit, limit=row.limit, skipped=why)


def _with(row: Row, ours: tuple[float, ...], theirs: tuple[float, ...]) -> Row:
    return Row(row.family, row.what, row.against, row.goal, row.unit, ours, theirs, limit=row.limit)


def _client() -> Any:
    import boto3

    return boto3.client("s3")


def _place(url: str) -> tuple[str, str]:
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket, key


def _store(url: str) -> Any:
    from obstore.store import from_url

    is_plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return from_url(url, client_options={"allow_http": is_plain, "timeout": "1h"})  # type: ignore[call-overload]


def _get(url: str, key: str, target: Path) -> None:
    import obstore

    with target.open("wb") as file:
        for chunk in obstore.get(_store(url), key).stream(8 << 20):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _clear(url: str, prefix: str | None = "blobs") -> None:
    import obstore

    store = _store(url)
    for page in obstore.list(store, prefix):
        obstore.delete(store, [found["path"] for found in page])
