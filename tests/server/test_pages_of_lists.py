"""What may be long comes in pages: each has what one may read, in order, once, and the client follows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from served import Served

import registry.client.catalog
from registry import Registry

pytestmark = pytest.mark.services

API = "/api/v1"


@pytest.fixture
def owner(home: Path, tmp_path: Path) -> Iterator[Registry]:
    """A home in which two teams push in turn, one of them from files."""
    hub = Registry(home)
    for number in range(5):
        file = tmp_path / f"{number}.pth"
        torch.save({"w": torch.full((3,), float(number))}, file)
        hub.push(file, f"team/net{number}", parent="team/net0:v1" if number else None, aliases=["best"])
        hub.push(file, f"hidden/net{number}", parent="hidden/net0:v1" if number else None)
    yield hub
    hub.close()


def pages(served: Served, path: str, token: str, limit: int, back: str = "after") -> Iterator[list[Any]]:
    after = ""
    while True:
        mark = "&" if "?" in path else "?"
        page = served.get(f"{API}{path}{mark}limit={limit}{after}", token).document
        yield page["items"]
        if page["next"] is None:
            return
        assert page["items"]
        after = f"&{back}={page['next']}"


LISTS = [("/models", "after"), ("/models?name=*net*", "after"), ("/events", "older"), ("/events?verb=push", "older")]
LISTS += [("/sources", "after"), ("/lineage/descents", "after"), ("/events?name=team/net1", "older")]


@pytest.mark.parametrize(("path", "back"), LISTS)
@pytest.mark.parametrize("models", ["*", "team/*"])
def test_every_page_is_full_but_the_last_and_all_together_are_the_list(
    served: Served, owner: Registry, token_of: Callable[..., str], path: str, back: str, models: str
) -> None:
    token = token_of("read", models, user="eve")
    (whole,) = pages(served, path, token, 1000, back)
    assert len(whole) >= 2 and ("hidden" in str(whole)) == (models == "*" and "team" not in path)
    for limit in (1, 2, 3):
        found = list(pages(served, path, token, limit, back))
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
        assert [each for page in found for each in page] == whole
        assert found[-1], "a page of nothing"


@pytest.mark.parametrize(("path", "back"), LISTS)
def test_no_page_is_larger_than_the_largest(
    served: Served, owner: Registry, token_of: Callable[..., str], path: str, back: str
) -> None:
    mark = "&" if "?" in path else "?"
    for refused in ("limit=1001", "limit=0", "limit=-1", f"{back}=x", f"{back}=WyJhIiwgMSwgMV0"):
        assert served.get(f"{API}{path}{mark}{refused}", token_of("read")).status in (400, 422), refused


def test_a_token_belongs_to_its_list(served: Served, owner: Registry, token_of: Callable[..., str]) -> None:
    token = token_of("read")
    following = served.get(f"{API}/models?limit=1", token).document["next"]
    assert served.get(f"{API}/sources?after={following}", token).code == "unusable-page-token"
    assert served.get(f"{API}/models?name=team*&after={following}", token).code == "unusable-page-token"


def test_a_push_between_two_pages_moves_nothing(served: Served, owner: Registry, token_of: Callable[..., str]) -> None:
    token = token_of("read")
    for path, back in LISTS[:1] + LISTS[2:]:
        (before,) = pages(served, path, token, 1000, back)
        walk = pages(served, path, token, 2, back)
        found = next(walk)
        owner.push({"w": torch.rand(3)}, f"aa/{len(owner.models())}")
        found += [each for page in walk for each in page]
        assert found == before, path


@pytest.fixture(params=[1, 2, 1000])
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many items the client asks for at a time."""
    monkeypatch.setattr(registry.client.catalog, "PAGE", request.param)
    return int(request.param)


def test_the_client_tells_what_the_home_tells_however_it_comes(
    served: Served, client: Registry, owner: Registry, home: Path, tmp_path: Path, page: int
) -> None:
    other = Registry(tmp_path / "other")
    for number in range(3):
        other.push({"w": torch.full((2,), float(number))}, "copied", tags={"number": str(number)}, aliases=["newest"])
        other.tag("copied:newest", {"word": "one"})
    other.copy(None, home)
    owner.tag("team/net1", {"seen": "yes"})
    other.tag("copied:v2", {"later": "yes"})
    other.copy(None, home, update=True)
    assert client.models() == owner.models() and client.models("*net1") == owner.models("*net1")
    for asked in ({}, {"verb": "push"}, {"verb": "tag"}, {"ref": "copied"}, {"ref": "copied", "verb": "tag"}):
        for limit in (None, 0, 1, 2, 3, 5, 8, 100):
            assert client.log(limit=limit, **asked) == owner.log(limit=limit, **asked), (asked, limit)
    assert [*map(tuple, client.catalog.sources())] == [*map(tuple, owner.catalog.sources())]
    assert client.catalog.lineage.descents() == owner.catalog.lineage.descents()


def test_the_history_of_a_hidden_copy_is_hidden_whatever_the_model_was_called_elsewhere(
    served: Served, owner: Registry, home: Path, tmp_path: Path, token_of: Callable[..., str]
) -> None:
    other = Registry(tmp_path / "other")
    other.push({"w": torch.ones(9)}, "team/secret", tags={"quiet": "word"})
    other.copy("team/secret", home, name="hidden/secret")
    for path in ("/events", "/events?verb=push", "/events?limit=1"):
        found = [each for page in pages(served, path, token_of("read", "team/*"), 2, "older") for each in page]
        assert found and "secret" not in str(found), path
