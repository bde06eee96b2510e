"""Tokens: what is kept of one, what the trail tells of it, and that no hand adds one unseen."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from databases import everything_in, place_of, run_sql
from hypothesis import given, strategies as st
from invocation import run

from registry import Registry
from registry.catalog.actor import acting_as
from registry.catalog.tokens import check_token, digest_of
from registry.errors import (
    InvalidArgument,
    InvalidLifetime,
    InvalidPattern,
    InvalidRole,
    InvalidUser,
    RegistryError,
    UnknownToken,
)


@pytest.fixture
def hub(folder: Path) -> Registry:
    return Registry(folder)


def test_a_token_is_stored_nowhere(hub: Registry) -> None:
    made = hub.add_token("ann", role="write", models=["team/*"], expires=timedelta(days=90))
    assert made.text.startswith("crt_") and len(made.text) == 47
    assert made.text[4:].encode() not in everything_in(place_of(hub)) and made.text[4:] not in repr(made)
    assert digest_of(made.text).encode() in everything_in(place_of(hub))


def test_what_it_is_for_is_kept(hub: Registry) -> None:
    made = hub.add_token("ann", role="write", models=["team/*", "net"], expires=timedelta(days=90)).token
    hub.add_token("bob")
    first, second = hub.tokens()
    assert first == made and (first.user, first.role, first.models) == ("ann", "write", ("team/*", "net"))
    assert first.expires_at is not None and first.expires_at - first.created_at == timedelta(days=90)
    assert (second.role, second.models, second.expires_at, second.last_used_at) == ("read", ("*",), None, None)


def test_a_token_is_found_by_its_text_alone_until_it_is_revoked_or_expires(hub: Registry) -> None:
    lasting, passing = hub.add_token("ann"), hub.add_token("ann", expires=timedelta(microseconds=1))
    tokens = hub.catalog.tokens
    found = tokens.find(lasting.text)
    assert found is not None and found[0] == lasting.token
    assert tokens.find(passing.text) is None and tokens.find(lasting.text + " ") is None
    assert tokens.find("\udcff") is None and tokens.find("") is None
    hub.revoke_token(lasting.token.number)
    assert tokens.find(lasting.text) is None
    assert [each.state(datetime.now(UTC)) for each in hub.tokens()] == ["revoked", "expired"]


def test_all_tokens_of_a_user_are_revoked_at_once_and_none_twice(hub: Registry) -> None:
    for user in ("ann", "bob", "ann"):
        hub.add_token(user)
    assert [each.number for each in hub.revoke_token("ann")] == [1, 3]
    for which in ("ann", 3, 9, "eve"):
        with pytest.raises(UnknownToken):
            hub.revoke_token(which)
    assert [each.revoked_at is None for each in hub.tokens()] == [False, True, False]


def test_the_trail_tells_who_got_and_lost_what_without_what_opens(hub: Registry) -> None:
    made = hub.add_token("ann", role="admin", models=["a*"])
    hub.revoke_token("ann")
    lost, got = hub.log(verb="token")
    assert (got.details["user"], got.details["role"], got.details["models"]) == ("ann", "admin", ["a*"])
    assert lost.details["revoked"] is True and lost.details["token"] == got.details["token"] == 1
    told = json.dumps([got.details, lost.details])
    assert made.text not in told and digest_of(made.text) not in told


@pytest.mark.parametrize(
    "edit",
    [
        "INSERT INTO tokens SELECT 7, substr(digest, 2) || substr(digest, 1, 1), 'eve', role, models, created_at, "
        "NULL, NULL, NULL FROM tokens WHERE id = 1",
        "UPDATE tokens SET role = 'admin'",
        "UPDATE tokens SET models = '[\"*\"]'",
        "UPDATE tokens SET expires_at = NULL WHERE id = 1",
        "UPDATE tokens SET revoked_at = NULL WHERE id = 2",
        "UPDATE tokens SET digest = substr(digest, 2) || substr(digest, 1, 1) WHERE id = 1",
        "UPDATE tokens SET \"user\" = 'eve' WHERE id = 1",
        "DELETE FROM tokens WHERE id = 2",
    ],
)
def test_a_token_that_a_hand_changed_is_found(hub: Registry, edit: str) -> None:
    hub.add_token("ann", models=["team/*"], expires=timedelta(days=1))
    hub.add_token("bob", models=["b"])
    hub.revoke_token("bob")
    assert hub.audit().is_clean
    hub.close()
    run_sql(place_of(hub), edit)
    assert [fault.ref.partition(" ")[0] for fault in hub.audit().faults][:1] == ["token"]


@pytest.mark.parametrize("column", ["expires_at", "revoked_at", "models", "role"])
def test_an_edit_makes_no_token_of_what_cannot_be_read(hub: Registry, column: str) -> None:
    made = hub.add_token("ann", expires=timedelta(days=1))
    hub.close()
    illegible = b"\xff[" if isinstance(place_of(hub), Path) else "\x01["
    run_sql(place_of(hub), f"UPDATE tokens SET {column} = ?", parameters=(illegible,))
    found = hub.catalog.tokens.find(made.text)
    assert found is None or found[0].models == () or found[0].role not in ("read", "write", "admin")


@pytest.mark.parametrize("user", ["", "7", "1234", "a b", "ann\n", "../x", "ü", "a" * 65, "-a", ".a"])
def test_what_cannot_be_a_user_is_refused(hub: Registry, user: str) -> None:
    with pytest.raises(InvalidUser):
        hub.add_token(user)
    assert not (hub.home / "registry.db").exists()


def test_what_is_no_role_pattern_or_lifetime_is_refused(hub: Registry) -> None:
    with pytest.raises(InvalidArgument, match="'read', 'write', 'admin'"):
        hub.add_token("ann", role="root")
    with pytest.raises(InvalidRole):
        check_token("ann", "root", ["*"], None)
    for pattern in ("", "/x", "[a]", "a b", "../*", "a" * 97):
        with pytest.raises(InvalidPattern):
            hub.add_token("ann", models=[pattern])
    with pytest.raises(InvalidPattern):
        hub.add_token("ann", models=[])
    for lifetime in (timedelta(0), timedelta(days=-1), timedelta(days=999999)):
        with pytest.raises((InvalidLifetime, InvalidArgument)):
            hub.add_token("ann", expires=lifetime)
    assert not (hub.home / "registry.db").exists()


@given(st.text(max_size=20))
def test_a_user_is_a_word_or_refused(tmp_path_factory: pytest.TempPathFactory, user: str) -> None:
    hub = Registry(tmp_path_factory.getbasetemp() / "users")
    try:
        made = hub.add_token(user)
    except RegistryError:
        return
    assert made.token.user == user and user.isprintable() and not user.isdecimal()


def test_what_is_done_in_a_users_name_is_told_of_that_user(hub: Registry) -> None:
    weights = {"weight": torch.ones(2)}
    with acting_as("ann", "root@laptop"):
        entry = hub.push(weights, "net")
    with acting_as("bob"):
        hub.tag(entry, {"task": "seg"})
    hub.annotate("net", note="mine")
    mine, tagged, pushed = hub.log("net")
    assert (pushed.actor, pushed.details["client"], entry.creator) == ("ann", "root@laptop", "ann")
    assert (tagged.actor, "client" in tagged.details) == ("bob", False)
    assert "@" in mine.actor and hub.audit().is_clean


def test_the_commands_make_show_and_end_a_token(folder: Path) -> None:
    home = folder
    made = run("token", "add", "ann", "--role", "write", "--models", "team/*", "--expires", "90d", home=home).stdout
    assert made.startswith("crt_") and "write on team/*" in made
    listed = run("token", "list", home=home).stdout
    assert "ann" in listed and "valid" in listed and made.split()[0] not in listed
    added = json.loads(run("token", "add", "bob", "--json", home=home).stdout)
    assert added["token"].startswith("crt_") and (added["number"], added["state"]) == (2, "valid")
    assert "revoked 1 token of ann: 1" in run("token", "revoke", "1", home=home).stdout
    assert json.loads(run("token", "revoke", "bob", "--json", home=home).stdout)[0]["state"] == "revoked"
    assert "is not revoked already" in run("token", "revoke", "ann", home=home, expect=1).stderr
    assert "role" in run("token", "add", "ann", "--role", "root", home=home, expect=None).stderr
    assert "token" in run("log", home=home).stdout and "proof" not in run("log", home=home).stdout


def test_where_there_is_no_registry_there_are_no_tokens_and_no_folder_is_made(tmp_path: Path) -> None:
    for words in (("list",), ("revoke", "ann")):
        assert "there is no registry" in run("token", *words, home=tmp_path / "home", expect=1).stderr
    assert not (tmp_path / "home").exists()
