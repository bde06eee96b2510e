"""Which call of the Hub's a request is, and which bytes it asks for: pure, so without a server."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

pytest.importorskip("starlette", reason="the server is not installed")

from registry.server.hub.admission import check, is_pickled, kind, replaced, weights_are_whole
from registry.server.hub.answers import Refusal
from registry.server.hub.routes import Call, call_of
from registry.server.hub.signing import Grant, Signer
from registry.server.sending import requested_range

pytestmark = pytest.mark.services

PARTS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,8}", fullmatch=True).filter(lambda part: part not in ("api",))
NAMES = st.one_of(PARTS, st.tuples(PARTS, PARTS).map("/".join))
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
PATHS = st.lists(WORDS.filter(lambda word: "/" not in word), min_size=1, max_size=3).map("/".join)


@given(NAMES, WORDS, PATHS)
def test_a_revision_may_have_any_characters_and_the_path_keeps_its_own(name: str, revision: str, path: str) -> None:
    raw = f"/{name}/resolve/{quote(revision, safe='')}/{quote(path)}"
    found = call_of("GET", raw)
    assert found is not None and found.kind == "resolve"
    if "resolve" not in name.split("/"):
        assert (found.name, found.revision, found.path) == (name, revision, path)


@given(NAMES, WORDS)
def test_a_name_may_have_a_namespace_or_none(name: str, revision: str) -> None:
    word = quote(revision, safe="")
    for kind_of, raw in (("model", "revision"), ("commits", "commits"), ("tree", "tree")):
        if {"revision", "commits", "tree", "refs"} & set(name.split("/")):
            continue
        assert call_of("GET", f"/api/models/{name}/{raw}/{word}") == Call(kind_of, name, revision)
        assert call_of("GET", f"/api/models/{name}") == Call("model", name)
        assert call_of("GET", f"/api/models/{name}/refs") == Call("refs", name)
        assert call_of("POST", f"/{name}.git/info/lfs/objects/batch") == Call("lfs-batch", name)


@given(st.text(max_size=60), st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]))
def test_what_is_no_call_is_none(path: str, method: str) -> None:
    call_of(method, path)
    assert call_of("PATCH", path) is None


@given(st.integers(0, 100), st.one_of(st.none(), st.integers(0, 100)), st.integers(1, 100))
def test_a_range_is_a_part_of_the_file_or_none(first: int, last: int | None, size: int) -> None:
    given_ = f"bytes={first}-{'' if last is None else last}"
    try:
        found = requested_range(given_, size)
    except ValueError:
        assert first >= size
        return
    if found is None:
        assert last is not None and last < first
    else:
        assert found == (first, size if last is None else min(size, last + 1)) and found[0] < found[1] <= size


@given(st.text(max_size=30))
def test_what_is_no_range_is_the_whole(text: str) -> None:
    if not text.startswith("bytes="):
        assert requested_range(text, 10) is None


def test_weights_are_one_file_or_a_series_with_its_index() -> None:
    shards = [f"model-{n:05}-of-00003.safetensors" for n in (1, 2, 3)]
    index = "model.safetensors.index.json"
    assert weights_are_whole(["config.json", "any name.safetensors"])
    assert weights_are_whole([*shards, index])
    for partial in ([], ["config.json"], shards, [*shards[:2], index], [index]):
        assert not weights_are_whole(partial)
    for several in (
        ["a.safetensors", "b.safetensors"],
        [*shards, "b.safetensors"],
        [*shards, "x-00001-of-00003.safetensors"],
    ):
        with pytest.raises(Refusal):
            weights_are_whole(several)


def test_new_weights_take_the_place_of_another_set_and_a_shard_joins_its_own() -> None:
    index, other = "model.safetensors.index.json", "best.safetensors"
    first, second = (f"model-{n:05}-of-00002.safetensors" for n in (1, 2))
    assert replaced([first, index, "a.json"], [second]) == set()
    assert replaced([first, index, "a.json"], [other]) == {first, index}
    assert replaced([other, "a.json"], [first, index]) == {other}
    assert replaced([other], ["model-00001-of-00003.safetensors", "a.json"]) == {other}
    assert replaced([first], ["model-00001-of-00003.safetensors"]) == {first}
    assert replaced([first, other, index], ["a.json"]) == set()


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a/../b", "a\\b", "", "a\nb", "a\0b", "x" * 501, "./a"])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(Refusal):
        check(path, 1)


def test_what_a_file_is_follows_from_its_name() -> None:
    kinds = {
        "model.safetensors": "weights",
        "model.safetensors.index.json": "index",
        "README.md": "card",
        "docs/README.md": "file",
        "generation_config.json": "config",
        "tokenizer_config.json": "tokenizer",
        "vocab.txt": "tokenizer",
        "train.py": "file",
    }
    assert {path: kind(path) for path in kinds} == kinds


def test_only_checkpoints_with_values_in_them_are_pickled_weights() -> None:
    assert is_pickled("model.pth", b"\x80\x02}q\x00.") and not is_pickled("notes.txt", b"\x80\x02}q\x00.")
    assert not is_pickled("model.bin", b"not of torch")
    assert not is_pickled("model.safetensors", b"\x80\x02" + bytes(6) + b"{}"), "a header of 640 bytes begins so"


FIELDS = st.sampled_from(
    ["action", "oid", "size", "model", "user", "upload", "expires", "offset", "length", "signature"]
)


@given(FIELDS, st.text(max_size=10))
def test_an_address_that_was_altered_lets_nothing_in(field: str, value: str) -> None:
    from urllib.parse import parse_qsl, urlsplit

    signer = Signer(lambda purpose, text: f"{purpose} {text}")
    grant = Grant("put", "a" * 64, 5, "team/net", "ann", "u")
    query = dict(parse_qsl(urlsplit(signer.address("http://hub", grant)).query))
    assert signer.read("a" * 64, query) is not None and signer.read("b" * 64, query) is None
    altered = {**query, field: value}
    assert altered == query or signer.read("a" * 64, altered) is None
    assert signer.read("a" * 64, {key: kept for key, kept in query.items() if key != field}) is None
