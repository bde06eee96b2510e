from datetime import date

import pytest
import torch
from contents import is_empty
from hypothesis import given, strategies as st

from registry.errors import InvalidAlias, InvalidModelName, InvalidReference, NamedLikeAFile, RegistryError
from registry.reference import (
    Reference,
    check_alias,
    check_model_name,
    check_new_model_name,
    file_stem,
    is_path,
    may_be_new,
    parse,
)

OLDER_NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)
PARTS = st.from_regex(r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*", fullmatch=True)
NEW_NAMES = (PARTS | st.tuples(PARTS, PARTS).map("/".join)).filter(may_be_new)
NAMES = OLDER_NAMES | NEW_NAMES
DAYS = st.dates()


def named_after(path: str) -> str:
    """Return what a new model is called that is pushed from a file without a name."""
    return check_new_model_name(file_stem(path))


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("pointnet", Reference("pointnet")),
        ("pointnet:v3", Reference("pointnet", version=3)),
        ("pointnet:best", Reference("pointnet", alias="best")),
        ("pointnet:latest", Reference("pointnet")),
        ("pointnet@ABCD1234", Reference("pointnet", digest="abcd1234")),
        ("v3", Reference("v3")),
        ("team/pointnet", Reference("team/pointnet")),
        ("team/pointnet:v3", Reference("team/pointnet", version=3)),
        ("team/pointnet@4be1", Reference("team/pointnet", digest="4be1")),
        ("pointnet:best@2026-11-01", Reference("pointnet", alias="best", day=date(2026, 11, 1))),
        ("best.pth:v1", Reference("best.pth", version=1)),
        ("a--b..:best", Reference("a--b..", alias="best")),
    ],
)
def test_every_form_is_read(text, reference):
    assert parse(text) == reference


@pytest.mark.parametrize("text", ["../x", "/a", "./best.pth", "~/best", "/data/best.pth:v1"])
def test_a_path_is_told_from_a_reference(text):
    with pytest.raises(InvalidReference, match=r"it is a path: `registry push` stores a file, and `registry check`"):
        parse(text)


def test_an_address_is_told_from_a_reference():
    with pytest.raises(InvalidReference, match=r"a server is named apart .* registry\.Registry\('http://HOST:8080'\)"):
        parse("http://127.0.0.1:8080/pointnet:best")


@given(NAMES, st.integers(0, 10**18 - 1), DAYS)
def test_a_reference_reads_as_it_is_written(name, number, day):
    references = (
        Reference(name),
        Reference(name, version=number),
        Reference(name, digest="00ff"),
        Reference(name, alias="best"),
        Reference(name, alias="best", day=day),
    )
    for reference in references:
        assert parse(str(reference)) == reference


@given(NEW_NAMES)
def test_a_new_name_is_no_path_and_is_read_wherever_a_name_is(name):
    assert check_new_model_name(name) == check_model_name(name) == name
    assert not is_path(name) and named_after(f"runs/{name.rpartition('/')[2]}.pth")


@given(st.text(alphabet="ab/.-_:@ A0é", max_size=110) | OLDER_NAMES)
def test_what_no_new_model_may_be_called_is_refused_with_a_name_that_one_may_have(text):
    try:
        assert check_new_model_name(text) == text
    except (InvalidModelName, NamedLikeAFile) as error:
        assert check_new_model_name(error.proposal) and f"'{error.proposal}'" in str(error)
    else:
        parts = text.split("/")
        assert len(text) <= 96 and len(parts) <= 2 and "--" not in text and ".." not in text
        assert all(part[0] not in ".-" and part[-1] not in ".-" for part in parts)


@pytest.mark.parametrize(
    "name",
    [
        *("a--b", "a..b", "a.", "a-", "a/b--c", "a./b", "x" * 97, f"{'x' * 48}/{'x' * 48}", "net.bundle", "Net.BUNDLE"),
        *("team/best.pth", "team/index.json", "a/b/c", "a/", "/a", "team/-b"),
    ],
)
def test_no_new_model_is_named_what_an_older_one_might_be_or_what_a_path_is(name, hub):
    with pytest.raises((InvalidModelName, NamedLikeAFile)):
        hub.push({"a.weight": torch.ones(2)}, name)
    assert is_empty(hub)


@pytest.mark.parametrize(
    ("text", "proposal"),
    [
        ("runs/7/best.pth", "runs-7-best"),
        ("team/best.pth", "team/best"),
        ("a--b..c-", "a-b.c"),
        ("net.bundle.pth", "net"),
        ("x" * 96 + ".pth", "x" * 96),
        ("x" * 95 + ".pth", "x" * 95),
    ],
)
def test_the_name_that_is_proposed_is_near(text, proposal):
    with pytest.raises((InvalidModelName, NamedLikeAFile), match=f"'{proposal}'"):
        check_new_model_name(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("net:best@2026-13-01", "not a day"),
        ("net:best@2026-2-1", "not a day"),
        ("net:best@20261101", "not a day"),
        ("net:best@abcd", "not a day"),
        ("net:best@", "not a day"),
        ("net:v3@2026-11-01", "'v3' is not one"),
        ("net:latest@2026-11-01", "'latest' is not one"),
        ("net@2026-11-01", "net:best@2026-11-01"),
        ("net@best:2026-11-01", "more than one"),
    ],
)
def test_a_day_that_is_none_or_follows_no_alias_is_refused_in_one_sentence(text, why):
    with pytest.raises(InvalidReference, match=why):
        parse(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_printable_ascii_line(text):
    try:
        reference = parse(text)
    except RegistryError as error:
        assert str(error).replace("…", "").isascii() and str(error).isprintable() and len(str(error)) < 500
    else:
        assert reference.name.isascii() and check_model_name(reference.name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a/b/c",
        "a/",
        "a/.b",
        "a/b--c",
        "a--b/c",
        "-rf",
        ".hidden",
        "a b",
        "a\n",
        "pоintnet",
        "a\0",
        "a" * 129,
    ],
)
def test_no_name_can_be_a_path_an_option_or_a_look_alike(text):
    with pytest.raises(InvalidModelName):
        parse(text)


@pytest.mark.parametrize("alias", ["v3", "3", "V3", "v0", "latest", "", "a:b", "a@b", "-a", "é"])
def test_no_alias_can_be_taken_for_something_else(alias):
    with pytest.raises(InvalidAlias):
        check_alias(alias)


@pytest.mark.parametrize("text", ["a:b:c", "a@abc", "a@xyzw", "a@b:c", "a:b@c:d", "a@" + "0" * 65, 3, None])
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(InvalidReference):
        parse(text)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("best.pth", "best"),
        ("runs/7/best.pth", "best"),
        ("chgnet.pth.tar", "chgnet"),
        ("model.safetensors.index.json", "model"),
        ("epoch.12.ckpt", "epoch.12"),
        ("a_folder", "a_folder"),
    ],
)
def test_a_name_comes_from_the_file(path, name):
    assert named_after(path) == name


@given(st.text(min_size=1, max_size=40).filter(lambda text: "/" not in text and "\0" not in text))
def test_a_file_that_gives_no_name_is_refused_with_one_that_would_do(stem):
    try:
        named_after(f"{stem}.pth")
    except (InvalidModelName, NamedLikeAFile) as error:
        assert check_new_model_name(error.proposal) and error.proposal in str(error)


def test_the_proposal_looks_like_the_file():
    with pytest.raises(InvalidModelName, match=r"'my-model-1' would do"):
        named_after("my model (1).pth")


@pytest.mark.parametrize("name", ["epoch1.pth", "runs/7/best.pt", "last.CKPT", "model.safetensors"])
def test_a_new_model_is_not_named_like_a_file(name, hub, tmp_path):
    torch.save({"a.weight": torch.ones(2)}, tmp_path / "first.pth")
    with pytest.raises((NamedLikeAFile, InvalidModelName)) as refusal:
        hub.push(tmp_path / "first.pth", name)
    assert isinstance(refusal.value, NamedLikeAFile | InvalidModelName)
    assert check_new_model_name(refusal.value.proposal)
    assert is_empty(hub)


@pytest.mark.in_a_folder
def test_a_model_that_was_named_like_a_file_keeps_its_name(hub, monkeypatch):
    for name in ("best.pth", "a--b", "net-", "x" * 128):
        monkeypatch.setattr("registry.pushing.request.check_new_model_name", check_model_name)
        hub.push({"a.weight": torch.ones(2)}, name)
        monkeypatch.undo()
        assert hub.get(f"{name}:v1").name == name
        assert hub.push({"a.weight": torch.zeros(2)}, name).ref == f"{name}:v2"


@pytest.mark.in_a_folder
def test_a_file_is_pushed_to_the_older_model_of_its_name(hub, monkeypatch, tmp_path):
    torch.save({"a.weight": torch.ones(2)}, tmp_path / "a--b.pth")
    assert hub.push(tmp_path / "a--b.pth").ref == "a-b:v1"
    monkeypatch.setattr("registry.pushing.request.check_new_model_name", check_model_name)
    hub.push({"a.weight": torch.zeros(2)}, "a--b")
    monkeypatch.undo()
    assert hub.push(tmp_path / "a--b.pth").ref == "a--b:v2"
