"""What the server is told and does not believe."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from invocation import run
from served import Answer, Served

from registry import Registry
from registry.blobs.files import viewed
from registry.blobs.layout import read_blob_header
from registry.client.objects import tensors_of
from registry.client.session import Session
from registry.errors import NotAllowed

pytestmark = pytest.mark.services


@pytest.fixture
def pushed(client: Registry, cache: Path) -> Path:
    """The file of a version that is there."""
    client.push({"w": torch.arange(6.0).reshape(2, 3), "b": torch.arange(3.0)}, "net")
    [blob] = cache.glob("*/blobs/*/*")
    return blob


@pytest.fixture
def admin(token_of: Callable[..., str]) -> str:
    return token_of("admin")


def post(served: Served, path: str, body: object, token: str, **headers: str) -> Answer:
    return served.request("POST", f"/api/v1{path}", json.dumps(body).encode(), token, **headers)


def another_blob(tmp_path: Path) -> tuple[bytes, str, list[str]]:
    """Make a file that no server has, in another home."""
    hub = Registry(tmp_path / "elsewhere")
    hub.push({"x": torch.arange(100.0), "y": torch.arange(50.0)}, "x")
    [path] = hub.home.glob("blobs/*/*")
    return path.read_bytes(), path.stem, tensors_of(path, path.stem)


def claim(pushed: Path, **changed: Any) -> dict[str, Any]:
    """Return a request for a version of the tensors in a file."""
    digests = tensors_of(pushed, pushed.stem)
    with viewed(pushed, pushed.stem) as content:
        start, slots = read_blob_header(content)
    rows = [
        [slot.key, slot.spec.dtype, list(slot.spec.shape), digest, 0, start + slot.offset]
        for slot, digest in zip(slots, digests, strict=True)
    ]
    manifest = {"blobs": [pushed.stem], "tensors": rows, "ties": [], "values": {}, "metadata": None}
    return {"name": "lie", "facts": facts(), "manifest": manifest, **changed}


def facts(**changed: Any) -> dict[str, Any]:
    from registry.catalog.facts import Facts

    return {**Facts().columns(), **changed}


def left_over(home: Path) -> list[Path]:
    return [*(home / "tmp").glob("*"), *(home / "running").glob("*")]


def test_a_flipped_byte_is_refused_and_leaves_nothing(
    served: Served, client: Registry, admin: str, home: Path, tmp_path: Path
) -> None:
    content, blob, tensors = another_blob(tmp_path)
    for place in (4, 20, len(content) - 1):
        flipped = bytearray(content)
        flipped[place] ^= 1
        began = post(served, "/uploads", {"blob": blob, "nbytes": len(content), "tensors": tensors}, admin).document
        refused = served.request("PUT", f"/api/v1/uploads/{began['id']}?at=0", bytes(flipped), admin)
        assert (refused.status, refused.code) == (400, "false-claim")
        assert not left_over(home) and not [*home.glob("blobs/*/*")]


def test_a_file_comes_with_what_announces_it(
    served: Served, client: Registry, admin: str, home: Path, tmp_path: Path
) -> None:
    content, blob, tensors = another_blob(tmp_path)
    new = {"blob": blob, "nbytes": len(content), "tensors": tensors}

    def begin(given: bytes) -> Answer:
        return post(served, "/uploads", {**new, "content": base64.b64encode(given).decode()}, admin)

    flipped = bytearray(content)
    flipped[-1] ^= 1
    for wrong in (bytes(flipped), content + b"x"):
        assert begin(wrong).code == "false-claim"
        assert not left_over(home) and not [*home.glob("blobs/*/*")]
    assert post(served, "/uploads", {**new, "content": "?"}, admin).code == "invalid-request"
    began = begin(content[:300]).document
    assert began["received"] == 300, "the first bytes are a piece"
    rest = served.request("PUT", f"/api/v1/uploads/{began['id']}?at=300", content[300:], admin)
    assert rest.document["received"] == len(content)
    assert [each.read_bytes() for each in home.glob("blobs/*/*")] == [content]
    assert begin(content).document["received"] == len(content), "it is there already"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a client asks from now on."""
    asked: list[str] = []
    request = Session._request

    def watched(session: Session, method: str, path: str, *rest: Any, **named: Any) -> Any:
        asked.append(f"{method} {path}")
        return request(session, method, path, *rest, **named)

    monkeypatch.setattr(Session, "_request", watched)
    return asked


def test_a_reader_is_told_so_before_a_file_is_sent(
    client: Registry,
    asked: list[str],
    token_of: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client.push({"w": torch.ones(2)}, "net")
    torch.save({"w": torch.zeros(2)}, tmp_path / "net.pth")
    monkeypatch.setenv("REGISTRY_TOKEN", token_of("read"))
    asked.clear()
    with pytest.raises(NotAllowed, match="net"):
        client.push(tmp_path / "net.pth", "net")
    assert asked == ["GET /standing"]


def test_a_small_push_sends_its_file_with_its_announcement(client: Registry, asked: list[str]) -> None:
    assert client.push({"w": torch.arange(6.0)}, "net").ref == "net:v1"
    assert asked == ["GET /standing", "POST /tensors/locate", "POST /uploads", "POST /versions"]


def test_an_upload_goes_on_where_it_stopped(
    served: Served, client: Registry, admin: str, home: Path, tmp_path: Path
) -> None:
    content, blob, tensors = another_blob(tmp_path)
    began = post(served, "/uploads", {"blob": blob, "nbytes": len(content), "tensors": tensors}, admin).document
    path = f"/api/v1/uploads/{began['id']}"
    assert served.request("PUT", f"{path}?at=0", content[:300], admin).document["received"] == 300
    wrong = served.request("PUT", f"{path}?at=100", content[100:], admin)
    assert (wrong.status, wrong.code, wrong.document["error"]["fields"]["received"]) == (409, "upload-elsewhere", 300)
    with served.connect() as connection:  # which breaks off
        head = f"PUT {path}?at=300 HTTP/1.1\r\nHost: {served.host}\r\nAuthorization: Bearer {admin}\r\n"
        connection.sendall(f"{head}Content-Length: {len(content) - 300}\r\n\r\n".encode() + content[300:400])
    assert served.get(path, admin).document["received"] == 300
    for _ in range(50):
        answer = served.request("PUT", f"{path}?at=300", content[300:], admin)
        if answer.status == 200:
            break
    assert answer.document["received"] == len(content)
    assert [each.read_bytes() for each in home.glob("blobs/*/*")] == [content]


def test_a_collection_takes_nothing_of_a_running_push(
    served: Served, client: Registry, admin: str, home: Path, tmp_path: Path
) -> None:
    content, blob, tensors = another_blob(tmp_path)
    began = post(served, "/uploads", {"blob": blob, "nbytes": len(content), "tensors": tensors}, admin).document
    path = f"/api/v1/uploads/{began['id']}"
    served.request("PUT", f"{path}?at=0", content[:300], admin)
    run("gc", home=home)
    assert served.request("PUT", f"{path}?at=300", content[300:], admin).status == 200
    run("gc", home=home)
    assert [each.stem for each in home.glob("blobs/*/*")] == [blob]
    [lease] = (home / "running").glob("*.json")
    record = json.loads(lease.read_text())
    lease.write_text(json.dumps({**record, "until": 0}))
    run("gc", home=home)
    assert not [*home.glob("blobs/*/*")] and not left_over(home)
    assert served.get(path, admin).code == "upload-gone"


def test_other_tensors_are_not_said_to_be_in_a_file_that_is_there(
    served: Served, client: Registry, pushed: Path, admin: str
) -> None:
    said = {"blob": pushed.stem, "nbytes": pushed.stat().st_size}
    assert post(served, "/uploads", {**said, "tensors": ["a" * 64, "b" * 64]}, admin).code == "false-claim"
    began = post(served, "/uploads", {**said, "tensors": tensors_of(pushed, pushed.stem)}, admin).document
    assert began["received"] == said["nbytes"]
    request = _with_row(claim(pushed, uploads=[began["id"]]), 3, "a" * 64)
    assert post(served, "/versions", request, admin).code == "false-claim"


def test_the_upload_of_another_user_is_not_there(
    served: Served, client: Registry, admin: str, tmp_path: Path, token_of: Callable[..., str]
) -> None:
    content, blob, tensors = another_blob(tmp_path)
    began = post(served, "/uploads", {"blob": blob, "nbytes": len(content), "tensors": tensors}, admin).document
    other = token_of("write", user="bob")
    assert served.get(f"/api/v1/uploads/{began['id']}", other).code == "upload-gone"


def _with_row(request: dict[str, Any], at: int, value: Any) -> dict[str, Any]:
    request["manifest"]["tensors"][0][at] = value
    return request


@pytest.mark.parametrize(
    ("at", "value"),
    [(1, "int32"), (2, [3, 2]), (2, [1 << 40]), (3, "a" * 64), (5, 0), (5, 1 << 61), (2, [1])],
)
def test_a_manifest_that_is_not_what_the_file_holds_is_refused(
    served: Served, client: Registry, pushed: Path, admin: str, at: int, value: Any
) -> None:
    refused = post(served, "/versions", _with_row(claim(pushed), at, value), admin)
    assert (refused.status, refused.code) == (400, "false-claim"), refused.body
    assert [entry.ref for entry in client.list()] == ["net:v1"]


def test_a_true_manifest_is_taken_and_counted_here(served: Served, client: Registry, pushed: Path, admin: str) -> None:
    lies = facts(tensor_count=7, parameter_count=1, byte_count=0, dtypes="{}", creator="root@elsewhere", origin="x")
    made = post(served, "/versions", claim(pushed, facts=lies), admin).document
    entry = client.get("lie")
    assert (entry.tensor_count, entry.parameter_count, entry.byte_count) == (2, 9, 36)
    assert (entry.creator, entry.origin, dict(entry.dtypes)) == ("ann", None, {"float32": 2})
    assert entry.digest == client.get("net").digest == made["digest"]


def test_files_that_are_not_there_are_asked_for_again(served: Served, pushed: Path, admin: str) -> None:
    request = claim(pushed)
    request["manifest"]["blobs"] = ["0" * 64]
    assert post(served, "/versions", request, admin).code == "collected"


@pytest.mark.parametrize(
    "changed",
    [
        {"documents": {"manifest": base64.b64encode(b"x").decode()}},
        {"documents": {"history": base64.b64encode(b"x").decode()}},
        {"documents": {"training": "not base 64"}},
        {"facts": {}},
        {"facts": facts(unwrapping="[]")},
        {"facts": facts(unwrapping='{"cuts": [1]}')},
        {"facts": facts(init="[]")},
        {"facts": facts(world_size="four")},
        {"facts": facts(later="x")},
        {"facts": facts(note="\ud800")},
        {"name": "../etc"},
        {"name": "net:v1"},
        {"metrics": {"acc": "high"}},
        {"aliases": ["v1"]},
        {"surplus": 1},
        {"manifest": {"tensors": []}},
    ],
)
def test_what_is_no_version_is_refused_in_words(
    served: Served, client: Registry, pushed: Path, admin: str, changed: dict[str, Any]
) -> None:
    refused = post(served, "/versions", claim(pushed, **changed), admin)
    assert 400 <= refused.status < 500 and refused.code
    assert [entry.ref for entry in client.list()] == ["net:v1"]


def test_a_request_that_is_sent_twice_makes_one_version(
    served: Served, client: Registry, pushed: Path, admin: str
) -> None:
    request = claim(pushed, force_new=True)
    first, second = (post(served, "/versions", request, admin, Idempotency_Key="k" * 32) for _ in range(2))
    assert first.document["ref"] == second.document["ref"] == "lie:v1"
    assert post(served, "/versions", request, admin, Idempotency_Key="l" * 32).document["ref"] == "lie:v2"
    assert len(client.log("lie", verb="push")) == 2


def test_the_key_of_a_request_is_no_other_requests(served: Served, client: Registry, pushed: Path, admin: str) -> None:
    first = claim(pushed, metrics={"acc": 0.5})
    assert post(served, "/versions", first, admin, Idempotency_Key="k" * 32).document["ref"] == "lie:v1"
    other = post(served, "/versions", claim(pushed, metrics={"acc": 0.9}), admin, Idempotency_Key="k" * 32)
    assert (other.status, other.code) == (409, "key-used-before")
    assert post(served, "/versions", first, admin, Idempotency_Key="k" * 32).document["ref"] == "lie:v1"
    assert dict(client.get("lie").metrics) == {"acc": 0.5} and len(client.log("lie")) == 1


def test_a_tag_that_looks_like_a_key_is_none(served: Served, client: Registry, pushed: Path, admin: str) -> None:
    key = "k" * 32
    tagged = claim(pushed, tags={"key": f"{key}.{'0' * 32}"})
    assert post(served, "/versions", tagged, admin).document["ref"] == "lie:v1"
    again = claim(pushed, force_new=True)
    for _ in range(2):
        assert post(served, "/versions", again, admin, Idempotency_Key=key).document["ref"] == "lie:v2"


def test_bytes_of_other_models_are_not_there(
    served: Served, client: Registry, pushed: Path, token_of: Callable[..., str]
) -> None:
    theirs = token_of("write", "team/*", user="eve")
    blob = f"/api/v1/blobs/{pushed.stem}"
    assert served.get(blob, theirs).status == 404
    assert served.get("/api/v1/manifest?ref=net:v1&uid=" + client.get("net").uid, theirs).status == 403
    located = post(served, "/tensors/locate", {"digests": tensors_of(pushed, pushed.stem)}, theirs)
    assert located.document == {"places": {}}
    # Who knows the digests alone makes no version of them, and so reads nothing.
    assert post(served, "/versions", claim(pushed, name="team/net"), theirs).code == "collected"
    assert post(served, "/versions", claim(pushed, name="other"), theirs).code == "not-allowed"
    assert served.get("/api/v1/entries", theirs).document["items"] == []
    unknown = served.get("/api/v1/entry?ref=team/nett", theirs)
    assert unknown.code == "unknown-model" and "net'" not in unknown.document["error"]["message"].replace("nett'", "")


@pytest.mark.parametrize("digest", ["x", "A" * 64, "0" * 63, "..%2f..%2fregistry.db", "0" * 64])
def test_what_names_no_file_is_refused(served: Served, client: Registry, admin: str, digest: str) -> None:
    assert served.get(f"/api/v1/blobs/{digest}", admin).status in (400, 404)


@pytest.mark.parametrize(("asked", "status"), [("bytes=0-3", 206), ("bytes=9999999-", 416), ("bytes=-4", 206)])
def test_parts_of_a_file(served: Served, client: Registry, pushed: Path, admin: str, asked: str, status: int) -> None:
    answer = served.get(f"/api/v1/blobs/{pushed.stem}", admin, Range=asked)
    assert answer.status == status
    if status == 206:
        content = pushed.read_bytes()
        assert answer.body == (content[:4] if asked == "bytes=0-3" else content[-4:])
