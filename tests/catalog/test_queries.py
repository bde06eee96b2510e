"""The language of queries: what reads as what, and that a malformed text says where."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings, strategies as st

from registry import errors
from registry.catalog.grammar import parse
from registry.catalog.query import COLUMNS, FIELDS, OPERATORS, Condition, Order, Query, Term


def name(value: str) -> Query:
    return Query((Term("name", value),))


READS = {
    "": Query(),
    "  \t\n ": Query(),
    "pointnet": name("pointnet"),
    "team/*": name("team/*"),
    "best.pth": name("best.pth"),
    "acc>=0.9": Query((), (Condition("acc", ">=", 0.9),)),
    "acc >= 0.9": Query((), (Condition("acc", ">=", 0.9),)),
    "acc==.5": Query((), (Condition("acc", "=", 0.5),)),
    "val:acc@5%<-1e-3": Query((), (Condition("val:acc@5%", "<", -0.001),)),
    '"val/acc top">0.5': Query((), (Condition("val/acc top", ">", 0.5),)),
    r'"a\"b\\">1': Query((), (Condition('a"b\\', ">", 1),)),
    '"tag:task"=1': Query((), (Condition("tag:task", "=", 1),)),
    "tag:task=seg": Query((Term("tag", "task=seg"),)),
    "tag:task": Query((Term("tag", "task"),)),
    'tag:data="v2 (clean)"': Query((Term("tag", "data=v2 (clean)"),)),
    "class:pkg.mod:Net": Query((Term("class", "pkg.mod:Net"),)),
    "note:loss<1": Query((Term("note", "loss<1"),)),
    "parent:team/net:v2": Query((Term("parent", "team/net:v2"),)),
    "digest:4BE1": Query((Term("digest", "4be1"),)),
    "after:2026-11-01": Query((Term("after", "2026-11-01T00:00:00.000000+00:00"),)),
    "before:2026-11-01T01:30+02:00": Query((Term("before", "2026-10-31T23:30:00.000000+00:00"),)),
    "sort:acc": Query((), (), Order("acc")),
    "sort:-epoch": Query((), (), Order("epoch", is_metric=False, descending=True)),
    'sort:-"epoch"': Query((), (), Order("epoch", descending=True)),
    'sort:"val/acc top"': Query((), (), Order("val/acc top")),
    "net* *net net": Query((Term("name", "net*"), Term("name", "*net"), Term("name", "net"))),
}


@pytest.mark.parametrize("text", READS)
def test_a_text_reads_as_its_query(text: str) -> None:
    assert parse(text) == READS[text]


REFUSED = {
    "acc>=": (5, "finite number"),
    "acc>=nan": (5, "finite number"),
    "net acc>=0.9x": (9, "finite number"),
    ">=0.9": (0, "missing before '>='"),
    "acc=>1": (3, "not a comparison"),
    "acc!=1": (3, "not a comparison"),
    "acc>=1; DROP TABLE versions": (5, "finite number"),
    "net tag:": (4, "has no value"),
    "tag:=seg": (4, "task=seg"),
    "tag:a b>": (8, "finite number"),
    "digest:xyz": (7, "hexadecimal"),
    "after:yesterday": (6, "not a date"),
    "after:2026-13-01": (6, "not a date"),
    "after:20261101": (6, "not a date"),
    "parent:net:best": (7, "pointnet:v2"),
    '"acc>=0.9': (0, "does not end"),
    'note:"two words': (5, "does not end"),
    'acc>=1"x"': (6, "space is missing"),
    "sort:": (5, "sort names"),
    "sort:acc sort:-loss": (9, "second sort"),
    "one two": (4, "one model"),
    "a/b/c": (0, "not a model's name"),
    "-net": (0, "not a model's name"),
    "réseau": (0, "not a model's name"),
    "net\x1b[2J": (3, "cannot be typed"),
    "net\0": (3, "cannot be typed"),
    "x" * 200 + ">1": (0, "128"),
    " ".join(["a>1"] * 40): (128, "at most 32 terms"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_malformed_query_is_one_sentence_with_the_place_in_it(text: str) -> None:
    at, why = REFUSED[text]
    with pytest.raises(errors.InvalidQuery) as refused:
        parse(text)
    assert refused.value.position == at
    assert why in str(refused.value) and "\n" not in str(refused.value)
    assert f"at character {at + 1}" in str(refused.value) or "at its end" in str(refused.value)


@pytest.mark.parametrize("text", ["klass:PointNet", "net:v3", "tags:x", "acc:0.9", "net team:x"])
def test_an_unknown_field_is_answered_with_the_fields(text: str) -> None:
    with pytest.raises(errors.UnknownField) as refused:
        parse(text)
    assert all(field in str(refused.value) for field in FIELDS)
    assert refused.value.position == text.rindex(" ") + 1 if " " in text else refused.value.position == 0


def test_every_field_has_an_example_that_reads() -> None:
    for example_of in FIELDS.values():
        parse(example_of)


words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=20).map(
    lambda text: text.strip() or "x"
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
conditions = st.builds(Condition, words, st.sampled_from(OPERATORS), numbers)
texts = st.builds(Term, st.sampled_from(["class", "builder", "by", "run", "source", "note", "alias", "kept"]), words)
tags = st.builds(lambda key, word: Term("tag", f"{key}={word}"), st.from_regex(r"\A[a-z_][a-z0-9_.-]{0,9}\Z"), words)
names = st.from_regex(r"\A[a-z_*][a-z0-9._*-]{0,9}(/[a-z_*][a-z0-9._*-]{0,9})?\Z").map(
    lambda text: Term("name", f"*{text}"[:20].rstrip("/"))
)
orders = st.one_of(
    st.builds(Order, words, st.just(True), st.booleans()),
    st.builds(Order, st.sampled_from(list(COLUMNS)), st.just(False), st.booleans()),
)
queries = st.builds(
    Query,
    st.lists(st.one_of(texts, tags, names), max_size=5).map(tuple),
    st.lists(conditions, max_size=5).map(tuple),
    st.one_of(st.none(), orders),
)


@given(queries)
@settings(max_examples=300, deadline=None)
@example(Query((), (Condition("class", ">", 1.0), Condition("tag:x", "=", 5e-324)), Order("-size")))
@example(Query((Term("note", 'a "b" \\'),), (Condition("a*b", "<", 1e300),), Order("created")))
def test_a_query_reads_back_from_its_own_text(query: Query) -> None:
    assert parse(str(query)) == query


@given(st.one_of(st.text(max_size=60), st.text('acgt:>=<!"\\ -*/.1é\u202e\ud800\n', max_size=30)))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_query_or_one_sentence(text: str) -> None:
    try:
        query = parse(text)
    except errors.RegistryError as refused:
        assert isinstance(refused, errors.InvalidQuery | errors.UnknownField)
        assert 0 <= refused.position <= len(text)
        str(refused).encode()
    else:
        assert parse(str(query)) == query


@given(st.text('acgt:>=<" ', max_size=30), st.sampled_from([" ", "  ", "\n", "\t "]))
def test_how_terms_are_spaced_is_all_the_same(text: str, space: str) -> None:
    try:
        query = parse(text)
    except errors.RegistryError:
        return
    if '"' not in text:
        assert parse(space + space.join(text.split()) + space) == query
