"""A token for some models tells nothing of the others and changes nothing of them, on any route."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import torch
from served import Answer, Served

from registry import Entry, Registry

pytestmark = pytest.mark.services


@pytest.fixture
def owner(home: Path) -> Iterator[Registry]:
    """A home with two teams, of which one has used a name of the other's."""
    hub = Registry(home)
    hub.push({"w": torch.arange(4.0)}, "hidden/first", metrics={"hush": 0.123456}, tags={"quiet": "word"})
    hub.push({"w": torch.arange(5.0)}, "team/moved", metrics={"hush": 0.234567})
    hub.rename("team/moved", "hidden/moved")
    hub.push({"w": torch.arange(6.0)}, "team/net", metrics={"acc": 0.5}, parent="hidden/first", aliases=["best"])
    hub.push({"w": torch.arange(7.0)}, "team/net", metrics={"acc": 0.7}, parent="team/net:v1")
    hub.push({"w": torch.arange(7.0)}, "hidden/same", metrics={"hush": 0.345678})
    hub.push({"w": torch.arange(8.0)}, "hidden/last", metrics={"acc": 0.9876543})
    yield hub
    hub.close()


@pytest.fixture
def secrets(owner: Registry, served: Served) -> set[str]:
    """What stands for the hidden models in answers: names, ids, digests, values."""
    hidden = [entry for entry in owner.list() if entry.name.startswith("hidden/")]
    own = {each for entry in owner.list("team/net") for each in (entry.digest, entry.record_digest)}
    found = {"hidden", "hush", "quiet", "0.123456", "0.234567", "0.345678", "0.9876543"}
    for entry in hidden:
        found |= {entry.uid, entry.seal, *({entry.digest, entry.record_digest} - own)}
    return found


def said(answer: Answer) -> str:
    """Return an answer with what is only wrapped in it."""
    text = answer.body.decode("utf-8", "replace")
    try:
        token = json.loads(text).get("next")
        text += "" if token is None else base64.urlsafe_b64decode(token + "===").decode("utf-8", "replace")
    except (ValueError, AttributeError):
        pass
    return text + json.dumps(answer.headers)


def leaks(answer: Answer, secrets: set[str], asked: str = "") -> set[str]:
    """Return the secrets that an answer tells, but those that the question had in it."""
    return {each for each in secrets if each in said(answer) and each not in asked}


READS = [
    "/entries",
    "/entries?limit=1",
    "/entries?limit=1&query=sort:-acc",
    "/entries?limit=1&query=sort:-hush",
    "/entries?query=sort:-hush",
    "/entries?query=sort:-nothing",
    "/entries?query=team/moved",
    "/entries?query=hid*",
    "/entries?query=parent:hid*",
    "/models",
    "/models?name=*",
    "/models?name=team/moved",
    "/events",
    "/events?limit=3",
    "/events?verb=rename",
    "/events?name=team/moved",
    "/events?name=team/net",
    "/entry?ref=team/moved",
    "/entry?ref=team/moved:v1",
    "/entry?ref=team/net:v1",
    "/entry?ref=team/net:nothing",
    "/entry?ref=team/nett",
    "/name?name=team/moved",
    "/name?name=team/nothing",
    "/standing?name=team/moved",
    "/card?name=team/moved",
    "/sources",
    "/lineage/descents",
    "/lineage/parent?ref=team/net:v1",
    "/lineage/parent?ref=team/moved",
    "/lineage/pushed?ref=team/moved",
    "/parcel?ref=team/moved&place=here",
    "/parcel?ref=team/net:v1&place=here",
    "/whoami",
]


HUB = [
    *("models", "models?search=h", "models/team/moved", "models/team/net", "models/team/moved/refs"),
    *(
        "models/team/net/refs",
        "models/team/net/tree/main",
        "models/team/moved/tree/main",
        "models/team/net/commits/main",
    ),
    *("models/team/moved/commits/main", "models/team/moved/revision/v1", "models/team/moved/xet-write-token/main"),
]


PAGES = [
    *("/", "/?sort=-pushed", "/?format=json", "/trash", "/storage", "/storage?plan=1", "/storage?format=json"),
    *("/versions", "/versions?q=sort:-acc", "/versions?q=sort:-nothing", "/versions?format=csv"),
    "/versions?q=team/moved",
    *("/activity", "/activity?verb=rename", "/activity?check=1", "/activity?format=json", "/activity?name=team/moved"),
    *("/models/team/net", "/models/team/net:v1", "/models/team/net:v1/events", "/models/team/net:v2/files"),
    *("/models/team/moved", "/models/team/moved:v1", "/models/team/moved:v1/tensors", "/models/team/nett"),
    *("/compare?ref=team/net:v1&ref=team/net:v2", "/compare?ref=team/net:v1&ref=team/moved:v1"),
]


def test_no_page_tells_of_another_model(served: Served, secrets: set[str], token_of: Callable[..., str]) -> None:
    theirs = token_of("admin", "team/*", user="eve")
    for path in PAGES:
        answer = served.get(path, theirs, Accept="text/html")
        told = html.unescape(answer.body.decode()) + json.dumps(answer.headers)
        for token in re.findall(r"after=([A-Za-z0-9_-]+)", told):
            told += base64.urlsafe_b64decode(token + "===").decode("utf-8", "replace")
        assert answer.status < 500, (path, answer.body)
        assert not {each for each in secrets if each in told}, path


def test_no_form_changes_another_model(served: Served, owner: Registry, token_of: Callable[..., str]) -> None:
    theirs, before = token_of("admin", "team/*", user="eve"), owner.get("hidden/moved")
    for form in (b"do=rm", b"do=alias&alias=mine", b"do=restore", b"do=rollback&alias=mine"):
        kind = "application/x-www-form-urlencoded"
        refused = served.request("POST", "/models/team/moved:v1", form, theirs, Content_Type=kind)
        assert refused.status in (401, 403, 404), (form, refused.status, refused.body)
    assert owner.get("hidden/moved") == before and not owner.list(trashed=True)


def test_no_answer_tells_of_another_model(served: Served, secrets: set[str], token_of: Callable[..., str]) -> None:
    theirs = token_of("admin", "team/*", user="eve")
    for path in [
        *(f"/api/v1{each}" for each in READS),
        *(f"/api/{each}" for each in HUB),
        "/team/moved/raw/main/README.md",
    ]:
        answer = served.get(path, theirs)
        assert answer.status < 500, (path, answer.body)
        assert not leaks(answer, secrets, path), (path, answer.body)


def test_no_refused_change_tells_of_another_model(
    served: Served, secrets: set[str], owner: Registry, token_of: Callable[..., str]
) -> None:
    theirs = token_of("admin", "team/*", user="eve")
    first, moved, net = (owner.get(each) for each in ("hidden/first", "hidden/moved", "team/net"))

    def seen(entry: Entry, name: str) -> dict[str, str]:
        return {"ref": f"{name}:v{entry.version}", "uid": entry.uid, "digest": entry.digest}

    changes: list[tuple[str, str, object]] = [
        ("POST", "/rename", {"old": "team/net", "new": "team/moved"}),
        ("POST", "/rename", {"old": "team/moved", "new": "team/mine"}),
        ("POST", "/rename", {"old": "hidden/first", "new": "team/mine"}),
        ("POST", "/rename", {"old": "team/net", "new": "hidden/mine"}),
        ("PUT", "/card", {"name": "team/moved", "text": "x"}),
        ("PUT", "/alias", {"version": seen(moved, "team/moved"), "alias": "mine"}),
        ("PUT", "/alias", {"version": seen(first, "hidden/first"), "alias": "mine"}),
        ("PUT", "/alias", {"version": {**seen(first, "team/net"), "ref": "team/net:v1"}, "alias": "mine"}),
        ("POST", "/facts", {"version": seen(moved, "team/moved"), "note": "mine"}),
        ("POST", "/rollback", {"name": "team/moved", "alias": "best"}),
        ("POST", "/trash", {"versions": [seen(net, "team/net"), seen(first, "hidden/first")]}),
        ("POST", "/trash", {"versions": [seen(moved, "team/moved")]}),
        ("POST", "/restore", {"versions": [seen(moved, "team/moved")]}),
        ("DELETE", "/alias?name=team/moved&alias=best", None),
        ("POST", "/versions", {"name": "team/moved", "facts": {}, "manifest": {}}),
    ]
    length = len(owner.log())
    for method, path, body in changes:
        text = None if body is None else json.dumps(body)
        answer = served.request(method, f"/api/v1{path}", None if text is None else text.encode(), theirs)
        assert answer.status >= 400, (path, answer.body)
        assert not leaks(answer, secrets, path + (text or "")), (path, body, answer.body)
    create = json.dumps({"type": "model", "organization": "team", "name": "moved"}).encode()
    answer = served.request("POST", "/api/repos/create", create, theirs)
    assert 400 <= answer.status < 500 and not leaks(answer, secrets), answer.body
    assert len(owner.log()) == length


def test_what_another_model_has_too_is_found_in_ones_own(
    served: Served, owner: Registry, token_of: Callable[..., str]
) -> None:
    theirs = token_of("read", "team/*", user="eve")
    digest = owner.get("team/net:v2").digest
    assert owner.get("hidden/same").digest == digest
    assert served.get(f"/api/v1/weights?digest={digest}", theirs).document["ref"] == "team/net:v2"
    other = owner.get("hidden/first")
    known = f"uid={other.uid}&number={other.version}&record={other.record_digest}"
    assert served.get(f"/api/v1/copies/here?{known}", theirs).document == {"is_here": False}
    assert served.get(f"/api/v1/copies/here?{known}", token_of("read")).document == {"is_here": True}


def test_a_blob_of_two_models_is_there_for_who_may_read_one_of_them(
    served: Served, owner: Registry, home: Path, token_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = {"w": torch.arange(40.0)}
    manifest, _ = owner.catalog.manifest_and_documents(owner.push(tensors, "hidden/alone"))
    (blob,), digest = manifest.blobs, manifest.tensors["w"].digest
    path = home / "blobs" / blob[:2] / f"{blob}.safetensors"
    theirs = token_of("write", "team/*", user="eve")

    def told() -> tuple[int, object, object, int]:
        there = json.dumps({"digests": [blob]}).encode()
        located = json.dumps({"digests": [digest]}).encode()
        begun = json.dumps({"blob": blob, "nbytes": path.stat().st_size, "tensors": [digest]}).encode()
        return (
            served.get(f"/api/v1/blobs/{blob}", theirs).status,
            served.request("POST", "/api/v1/blobs/there", there, theirs).document["there"],
            list(served.request("POST", "/api/v1/tensors/locate", located, theirs).document["places"]),
            served.request("POST", "/api/v1/uploads", begun, theirs).document["received"],
        )

    assert told() == (404, [], [], 0)
    before = path.stat()
    monkeypatch.setenv("REGISTRY_TOKEN", theirs)
    mine = Registry(served.url).push(tensors, "team/too")
    assert owner.catalog.manifest_and_documents(mine)[0].blobs == {blob}
    assert told() == (200, [blob], [digest], path.stat().st_size) and path.stat().st_size == before.st_size
    owner.rm(mine)
    owner.gc(grace=timedelta(0))
    assert told()[:3] == (404, [], []) and torch.equal(owner.state_dict("hidden/alone")["w"], tensors["w"])


@pytest.mark.parametrize("word", ["parent:hidden/first", "parent:hidden/first:v1", "parent:hidden/moved:v1"])
@pytest.mark.parametrize("more", ["", " acc>0", " sort:-acc", " team/net", " team/*"])
def test_a_parent_that_one_may_not_read_is_not_found_by_its_name(
    served: Served, owner: Registry, token_of: Callable[..., str], word: str, more: str
) -> None:
    owner.push({"w": torch.arange(9.0)}, "team/net", metrics={"acc": 0.6}, parent="hidden/moved")
    theirs = token_of("read", "team/*", user="eve")

    def asked(query: str, token: str, limit: int = 1000) -> tuple[list[str], str | None]:
        page = served.get(f"/api/v1/entries?query={quote(query)}&limit={limit}", token).document
        return [each["ref"] for each in page["items"]], page["next"]

    wide = token_of("read")
    assert asked(word + more, wide)[0] and asked(word + more, theirs) == ([], None)
    assert asked(word + more, theirs, 1) == asked("parent:hidden/nothing" + more, theirs, 1) == ([], None)
    assert (
        asked(f"parent:team/net{more}", theirs) == asked("parent:team/net:v1" + more, wide) == (["team/net:v2"], None)
    )
    for query in (word + more, "parent:team/net" + more):
        shown = served.get(f"/versions?q={quote(query)}", theirs, Accept="text/html").body.decode()
        unlike = served.get(f"/versions?q={quote('parent:hidden/nothing' + more)}", theirs, Accept="text/html")
        is_same = plain(shown, query) == plain(unlike.body.decode(), "parent:hidden/nothing" + more)
        assert is_same == query.startswith("parent:hidden"), shown


def plain(shown: str, query: str) -> str:
    """Return a page without the question that it repeats."""
    for each in (query, quote(query), quote_plus(query), quote(query, safe="")):
        shown = shown.replace(html.escape(each), "")
    return shown


@pytest.mark.parametrize("query", ["", "sort:-acc", "sort:acc", "sort:created"])
def test_pages_have_what_one_may_read_and_no_gaps(
    served: Served, owner: Registry, token_of: Callable[..., str], query: str
) -> None:
    for number in range(4):
        owner.push({"w": torch.arange(20.0 + number)}, "team/more", metrics={"acc": number / 10})
        owner.push({"w": torch.arange(30.0 + number)}, "hidden/more", metrics={"acc": number / 10})
    theirs = token_of("read", "team/*", user="eve")
    whole = [each["ref"] for each in served.get(f"/api/v1/entries?query={query}", theirs).document["items"]]
    for limit in (1, 2, 3, 6):
        found: list[str] = []
        after = ""
        while True:
            page = served.get(f"/api/v1/entries?query={query}&limit={limit}{after}", theirs).document
            found += [each["ref"] for each in page["items"]]
            if page["next"] is None:
                break
            assert len(page["items"]) == limit
            after = f"&after={page['next']}"
        assert found == whole and len(whole) == 6
