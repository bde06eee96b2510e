"""The address of a database: what is one, and that nobody gets to see its password."""

from __future__ import annotations

import traceback
from urllib.parse import quote

import pytest
from hypothesis import example, given, strategies as st

from registry.catalog.address import DatabaseAddress
from registry.errors import InvalidDatabaseAddress

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=24).map(lambda text: f"Zq{text}")
HIDDEN = "Zq7secret"


@given(user=st.text("abcü@:/ ", max_size=8), secret=SECRETS, in_query=st.booleans())
def test_a_password_is_in_what_the_driver_gets_and_in_nothing_that_is_shown(
    user: str, secret: str, in_query: bool
) -> None:
    spelled = quote(secret, safe="")
    who = quote(user, safe="")
    url = (
        f"postgresql://{who}@db.example/models?password={spelled}&sslmode=require"
        if in_query
        else f"postgresql://{who}:{spelled}@db.example:5433/models?sslmode=require"
    )
    address = DatabaseAddress.parse(url)
    assert address.url == url and address.has_password
    for shown in (
        str(address),
        repr(address),
        f"{address}",
        address.without_secrets(f"no {spelled} or {secret}; {url}"),
    ):
        assert spelled not in shown and secret not in shown
    assert "db.example" in str(address) and str(address).endswith("/models")


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://ann:{HIDDEN}/x@host/db",
        f"postgresql://ann:{HIDDEN}@x@host/db",
        f"postgresql://ann:{HIDDEN}?@host/db",
        f"postgresql://ann:{HIDDEN}#@host/db",
        f"postgresql://ann:{HIDDEN}/db",
        f"postgresql://host/db?password={HIDDEN}@x",
        f"postgresql+psycopg://ann:{HIDDEN}@host/db",
        f"postgresql:ann:{HIDDEN}@host/db",
        f"mysql://ann:{HIDDEN}@host/db",
        f"postgresql://ann:{HIDDEN} @host/db",
        f"postgresql://ann:{HIDDEN}\n@host/db",
        "",
        "postgresql",
    ],
)
def test_what_is_no_address_is_refused_and_shown_in_no_part(text: str) -> None:
    with pytest.raises(InvalidDatabaseAddress) as refused:
        DatabaseAddress.parse(text)
    assert HIDDEN not in "".join(traceback.format_exception(refused.value))


@given(st.text(max_size=40).map(lambda text: f"postgresql://{text}"))
@example("postgresql://")
@example("postgresql:///db")
@example("postgresql://a:b@[::1]:5432,host:1/db")
def test_any_text_is_an_address_or_refused_in_one_sentence(text: str) -> None:
    try:
        assert str(DatabaseAddress.parse(text)).startswith("postgresql://")
    except InvalidDatabaseAddress as error:
        assert "\n" not in str(error)


def test_an_address_may_be_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_CATALOG", f"postgresql://ann:{HIDDEN}@host/db")
    assert str(DatabaseAddress.parse("env:MY_CATALOG")) == "postgresql://ann:***@host/db"
    for text, why in (("env:OTHER", "'OTHER'.* is not set"), ("env:", "is not set")):
        with pytest.raises(InvalidDatabaseAddress, match=why):
            DatabaseAddress.parse(text)
    monkeypatch.setenv("OTHER", "env:OTHER")
    with pytest.raises(InvalidDatabaseAddress, match="names another variable"):
        DatabaseAddress.parse("env:OTHER")
