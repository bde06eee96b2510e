"""Every route of the application, by who may ask it: a new one that lets anybody in is found here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from served import Served, serving

from registry import Registry

pytestmark = pytest.mark.services

OPEN = {
    "GET /api/v1/openapi.json",
    "GET /healthz",
    "GET /api/v1/whoami",
    "POST /api/v1/session",
    "DELETE /api/v1/session",
}
"""What is answered whoever asks; none of it tells of a model."""

WRITES = {
    *("POST /api/v1/facts", "PUT /api/v1/alias", "DELETE /api/v1/alias", "POST /api/v1/rollback", "PUT /api/v1/card"),
    *("POST /api/v1/uploads", "GET /api/v1/uploads/{upload}", "PUT /api/v1/uploads/{upload}"),
    *("DELETE /api/v1/uploads/{upload}", "POST /api/v1/versions", "POST /api/v1/copies"),
}
ADMINISTERS = {"POST /api/v1/rename", "POST /api/v1/trash", "POST /api/v1/restore"}
WITH_A_PARCEL = {"POST /api/v1/copies", "POST /api/v1/copies/meet", "POST /api/v1/copies/standing"}
"""Whose name is in what is sent: only what can be read is asked for rights."""

HUB = {
    **dict.fromkeys(("GET /api/models", "GET /api/models/net", "GET /api/models/net/refs"), "read"),
    **dict.fromkeys(("GET /api/models/net/tree/main", "GET /api/models/net/commits/main"), "read"),
    **dict.fromkeys(("POST /api/models/net/paths-info/main", "GET /net/resolve/main/model.safetensors"), "read"),
    **dict.fromkeys(("POST /api/repos/create", "POST /api/models/net/preupload/main"), "write"),
    **dict.fromkeys(("POST /api/models/net/commit/main", "POST /api/models/net/tag/main"), "write"),
    "POST /net.git/info/lfs/objects/batch": "write",
}
ROLES = ("nobody", "read", "write", "admin")


@pytest.fixture
def seen(home: Path) -> dict[str, str]:
    hub = Registry(home)
    entry = hub.push({"w": torch.arange(3.0)}, "net", aliases=["best"])
    hub.close()
    return {"ref": entry.ref, "uid": entry.uid, "digest": entry.digest}


def routes(described: object) -> dict[str, dict[str, object]]:
    assert isinstance(described, dict)
    return {
        f"{method.upper()} {path}": operation
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
    }


def needed(route: str) -> str:
    return "admin" if route in ADMINISTERS else "write" if route in WRITES else "read"


def body_of(route: str, seen: dict[str, str]) -> object:
    """Return a request that is right in form, so that only rights keep it out."""
    return {
        "POST /api/v1/facts": {"version": seen},
        "PUT /api/v1/alias": {"version": seen, "alias": "best"},
        "POST /api/v1/rollback": {"name": "net", "alias": "best"},
        "PUT /api/v1/card": {"name": "net", "text": ""},
        "POST /api/v1/rename": {"old": "net", "new": "other"},
        "POST /api/v1/trash": {"versions": [seen]},
        "POST /api/v1/restore": {"versions": [seen]},
        "POST /api/v1/uploads": {"blob": "0" * 64, "nbytes": 8, "tensors": []},
        "POST /api/v1/versions": {"name": "net", "facts": {}, "manifest": {}},
        "POST /api/v1/blobs/there": {"digests": []},
        "POST /api/v1/tensors/locate": {"digests": []},
        "POST /api/v1/copies": {"parcel": {}, "place": "here", "places": {}},
        "POST /api/v1/copies/meet": {"parcel": {}, "place": "here"},
        "POST /api/v1/copies/standing": {"parcel": {}},
    }.get(route)


_WORDS = "ref=net&name=net&alias=best&kind=manifest&place=here&run=x&number=1&at=0&digest=" + 64 * "0"


def refused(served: Served, route: str, body: object, token: str | None, seen: dict[str, str]) -> int | None:
    """Return 401 or 403 where that is the answer; None where it is any other."""
    method, path = route.split()
    asked = f"{re.sub('{[a-z]+}', '0' * 64, path)}?{_WORDS}&uid={seen['uid']}&record={'0' * 64}"
    text = b"{}" if body is None and method != "GET" else None if body is None else json.dumps(body).encode()
    status = served.request(method, asked if "/v1/" in path else path, text, token).status
    return status if status in (401, 403) else None


def test_each_route_asks_for_its_role(home: Path, seen: dict[str, str], token_of: Callable[..., str]) -> None:
    with serving(home, "--no-anonymous") as served:
        every = routes(served.get("/api/v1/openapi.json", token_of("admin")).document)
        assert set(every) >= WRITES | ADMINISTERS | WITH_A_PARCEL and len(every) > 30
        asked = {route: (needed(route), body_of(route, seen)) for route in every if route not in OPEN}
        for route, role in HUB.items():
            asked[route] = role, {"type": "model", "name": "net2"} if "create" in route else None
        for role in ROLES:
            token = None if role == "nobody" else token_of(role)
            for route, (least, body) in asked.items():
                may = ROLES.index(role) >= ROLES.index(least)
                if role != "nobody" and route in WITH_A_PARCEL:
                    continue
                got = refused(served, route, body, token, seen)
                assert got == (None if may else 401 if role == "nobody" else 403), (role, route)


def test_what_is_open_tells_of_no_model(home: Path, seen: dict[str, str]) -> None:
    with serving(home, "--no-anonymous") as served:
        for route in OPEN:
            method, path = route.split()
            answer = served.request(method, path, None if method == "GET" else b"{}")
            assert seen["uid"] not in answer.body.decode() and seen["digest"] not in answer.body.decode()
        for path in (
            "/",
            "/docs",
            "/redoc",
            "/api/v1",
            "/api/v1/",
            "/api/v1/nothing",
            "/api/v2/entries",
            "/api/v1/entry/",
        ):
            assert served.get(path).status in (401, 404), path
