import pytest
import torch
from hypothesis import given, strategies as st

from registry.errors import InvalidAlias, InvalidModelName, InvalidReference, NamedLikeAFile, RegistryError
from registry.reference import (
    Reference,
    check_alias,
    check_model_name,
    check_new_model_name,
    parse,
    same_name_as_file_stem,
)

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("pointnet", Reference("pointnet")),
        ("pointnet:v3", Reference("pointnet", version=3)),
        ("pointnet:best", Reference("pointnet", alias="best")),
        ("pointnet:latest", Reference("pointnet")),
        ("pointnet@ABCD1234", Reference("pointnet", digest="abcd1234")),
        ("v3", Reference("v3")),
    ],
)
def test_every_form_is_read(text, reference):
    assert parse(text) == reference


@given(NAMES, st.integers(0, 10**18 - 1))
def test_a_reference_reads_as_it_is_written(name, number):
    for reference in (Reference(name), Reference(name, version=number), Reference(name, digest="00ff")):
        assert parse(str(reference)) == reference


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_printable_ascii_line(text):
    try:
        reference = parse(text)
    except RegistryError as error:
        assert str(error).replace("…", "").isascii() and str(error).isprintable() and len(str(error)) < 500
    else:
        assert reference.name.isascii() and check_model_name(reference.name)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "../x", "a/b", "-rf", ".hidden", "a b", "a\n", "pоintnet", "a\0", "a" * 129]
)
def test_no_name_can_be_a_path_an_option_or_a_look_alike(text):
    with pytest.raises(InvalidModelName):
        parse(text)


@pytest.mark.parametrize("alias", ["v3", "3", "V3", "v0", "latest", "", "a:b", "a@b", "-a", "é"])
def test_no_alias_can_be_taken_for_something_else(alias):
    with pytest.raises(InvalidAlias):
        check_alias(alias)


@pytest.mark.parametrize("text", ["a:b:c", "a@abc", "a@xyzw", "a@b:c", "a@" + "0" * 65, 3, None])
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
    assert same_name_as_file_stem(path) == name


@given(st.text(min_size=1, max_size=40).filter(lambda text: "/" not in text and "\0" not in text))
def test_a_file_that_gives_no_name_is_refused_with_one_that_would_do(stem):
    try:
        same_name_as_file_stem(f"{stem}.pth")
    except InvalidModelName as error:
        assert check_model_name(error.proposal) and error.proposal in str(error)


def test_the_proposal_looks_like_the_file():
    with pytest.raises(InvalidModelName, match=r"'my-model-1' would do"):
        same_name_as_file_stem("my model (1).pth")


@pytest.mark.parametrize("name", ["epoch1.pth", "runs/7/best.pt", "last.CKPT", "model.safetensors"])
def test_a_new_model_is_not_named_like_a_file(name, hub, tmp_path):
    torch.save({"a.weight": torch.ones(2)}, tmp_path / "first.pth")
    with pytest.raises((NamedLikeAFile, InvalidModelName)) as refusal:
        hub.push(tmp_path / "first.pth", name)
    assert isinstance(refusal.value, NamedLikeAFile | InvalidModelName)
    assert check_new_model_name(refusal.value.proposal)
    assert not hub.list()


def test_a_model_that_was_named_like_a_file_keeps_its_name(hub, monkeypatch):
    monkeypatch.setattr("registry.pushing.request.check_new_model_name", check_model_name)
    hub.push({"a.weight": torch.ones(2)}, "best.pth")
    monkeypatch.undo()
    assert hub.get("best.pth:v1").name == "best.pth"
    assert hub.push({"a.weight": torch.zeros(2)}, "best.pth").ref == "best.pth:v2"
