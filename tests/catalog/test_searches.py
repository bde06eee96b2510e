"""What a query finds, in which order, and page by page."""

from __future__ import annotations

import pickle
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import KINDS, Place as DatabasePlace, fresh
from deliberate import wrong
from drafts import push
from hypothesis import given, settings, strategies as st

from registry import Registry, errors
from registry.catalog import search
from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.catalog.grammar import parse
from registry.catalog.page import Page, Place

CLASSES = ("nets:PointNet", "lib.nets:PointNet", "nets:PointNetPlus", None)
WRAPPERS = ("none", "ddp", "compile(ddp)", "ddp(compile)", "ddpx", "dp", "ddp or dp", "compile(ddp or dp)")


def stock(catalog: Catalog, versions: int) -> None:
    """Push versions of five models that differ in everything that can be asked for."""
    chance = random.Random(7)
    for seed in range(versions):
        metrics = {key: chance.randrange(6) / 5 for key in ("acc", "loss", "epoch", "val/acc") if chance.random() < 0.7}
        tags = {key: chance.choice(["seg", "cls", "se_g"]) for key in ("task", "data") if chance.random() < 0.6}
        facts = {
            "model_class": chance.choice(CLASSES),
            "wrapper": chance.choice(WRAPPERS),
            "creator": chance.choice(["ann@here", "anna@here", "ann@there"]),
            "note": chance.choice(["", "Frozen backbone", "100% [a?b]_c"]),
            "source_name": chance.choice(["best.pth", "last.pth"]),
            "epoch": chance.choice([None, 1, 2, 3]),
            "parent": chance.choice([None, "net:v1", "net-b:v1", "net:v11"]),
            "run": chance.choice([None, "r1", "r2"]),
            "git_commit": chance.choice([None, "abc123", "abd"]),
        }
        documents = {"training": b"x"} if chance.random() < 0.3 else {}
        aliases = ["best"] if chance.random() < 0.2 else []
        name = chance.choice(["net", "net-b", "other", "o_her", "net"])
        push(catalog, name, seed, metrics=metrics, tags=tags, aliases=aliases, documents=documents,
             **wrong(facts))  # fmt: skip
    for entry in catalog.entries(limit=versions // 5):
        if not entry.aliases and entry.version % 2:
            catalog.trash(entry)


@pytest.fixture(scope="module", params=KINDS)
def catalog(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    with fresh(request, tmp_path_factory.mktemp("stocked") / "home") as place:
        found = Catalog(place, actor="me")
        stock(found, 90)
        yield found
        found.close()


def fits(text: str | None, pattern: str) -> bool:
    return text is not None and re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.S) is not None


HOLDS: dict[str, Callable[[Entry, str], bool]] = {
    "name": lambda entry, value: fits(entry.name, value),
    "class": lambda entry, value: fits(entry.model_class, value if ":" in value else f"*:{value}"),
    "wrapper": lambda entry, value: any(
        value in re.split(r"[()]", told) or told == value
        for told in (entry.wrapper, *(entry.wrapper.replace("ddp or dp", name) for name in ("ddp", "dp")))
    ),
    "tag": lambda entry, value: (
        fits(entry.tags.get(value.split("=")[0]), value.split("=")[1]) if "=" in value else value in entry.tags
    ),
    "alias": lambda entry, value: any(fits(alias, value) for alias in entry.aliases),
    "by": lambda entry, value: fits(entry.creator, value) or fits(entry.creator.split("@")[0], value),
    "after": lambda entry, value: entry.created_at.isoformat(timespec="microseconds") >= value,
    "before": lambda entry, value: entry.created_at.isoformat(timespec="microseconds") < value,
    "digest": lambda entry, value: entry.digest.startswith(value),
    "commit": lambda entry, value: (entry.git_commit or "").startswith(value),
    "kept": lambda entry, value: value in entry.attachments,
    "run": lambda entry, value: fits(entry.run, value),
    "builder": lambda entry, value: fits(entry.builder, value),
    "base": lambda entry, value: (entry.base or "").startswith(value),
    "source": lambda entry, value: fits(entry.source_name, value),
    "note": lambda entry, value: value.lower() in entry.note.lower(),
    "dtype": lambda entry, value: value in entry.dtypes,
    "parent": lambda entry, value: (entry.parent or "") == value or (entry.parent or "").split(":")[0] == value,
}
COMPARES: dict[str, Callable[[float, float], bool]] = {
    ">=": float.__ge__, "<=": float.__le__, ">": float.__gt__, "<": float.__lt__, "=": float.__eq__,
}  # fmt: skip
OF_COLUMN = {
    "created": "created_at",
    "size": "byte_count",
    "params": "parameter_count",
    "epoch": "epoch",
    "step": "step",
}


def expected(newest_first: tuple[Entry, ...], text: str) -> list[str]:
    """Return what a query finds among some entries, by going through them."""
    query = parse(text)
    found = [
        entry
        for entry in newest_first
        if all(HOLDS[term.field](entry, term.value) for term in query.terms)
        and all(
            condition.key in entry.metrics
            and COMPARES[condition.operator](entry.metrics[condition.key], condition.value)
            for condition in query.conditions
        )
    ]
    order = query.order
    if order is not None:

        def key(entry: Entry) -> Any:
            return entry.metrics.get(order.by) if order.is_metric else getattr(entry, OF_COLUMN[order.by])

        # Python keeps those that are equal in their order, whatever the direction.
        having = sorted((entry for entry in found if key(entry) is not None), key=key, reverse=order.descending)
        found = having + [entry for entry in found if key(entry) is None]
    return [entry.ref for entry in found]


def paged(catalog: Catalog, text: str, limit: int, trashed: bool = False) -> list[str]:
    found: list[str] = []
    after = None
    while len(found) < 1000:
        page = catalog.search(parse(text), trashed=trashed, limit=limit, after=after)
        assert len(page) <= limit and (page.next is None or len(page) == limit)
        found += [entry.ref for entry in page]
        if page.next is None:
            return found
        after = page.next
    raise AssertionError("the pages do not end")


TERMS = (
    *(
        "net",
        "net*",
        "*e*",
        "o_*",
        "acc>=0.4",
        "acc<1",
        "loss<=0.6",
        "epoch>0",
        '"val/acc"=0.2',
        "tag:task=seg",
        "tag:data",
    ),
    *(
        "tag:task=s*",
        "class:PointNet",
        "class:lib.nets:PointNet",
        "class:Point*",
        "wrapper:ddp",
        "wrapper:compile(ddp)",
        "wrapper:dp",
        "wrapper:compile(dp)",
        'wrapper:"ddp or dp"',
    ),
    *("wrapper:none", "by:ann", "by:ann@here", "by:an*", "alias:best", "alias:b*", "kept:training", "run:r1", "run:r*"),
    *(
        "commit:ab",
        "commit:abc1",
        "dtype:float32",
        "source:*.pth",
        "source:best.pth",
        "note:frozen",
        "note:0%",
        "note:[a?b]_",
    ),
    *(
        "note:x",
        "after:2020-01-01",
        "before:2020-01-01",
        "digest:0",
        "base:0",
        "builder:timm",
        "parent:net",
        "parent:net:v1",
    ),
)
ORDERS = (
    "",
    "sort:acc",
    "sort:-acc",
    "sort:-loss",
    'sort:"epoch"',
    "sort:-epoch",
    "sort:epoch",
    "sort:created",
    "sort:-size",
)


@given(
    st.lists(st.sampled_from(TERMS), max_size=4, unique=True),
    st.sampled_from(ORDERS),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_query_finds_what_going_through_all_versions_finds(
    catalog: Catalog, terms: list[str], order: str, limit: int, few: bool, trashed: bool
) -> None:
    text = " ".join([*terms, order])
    wanted = expected(catalog.entries(trashed=trashed), text)
    before, search.FEW = search.FEW, 4000 if few else 0
    try:
        assert [entry.ref for entry in catalog.search(parse(text), trashed=trashed)] == wanted
        assert paged(catalog, text, limit, trashed) == wanted
    finally:
        search.FEW = before


@pytest.mark.parametrize("text", [*TERMS, *(f"net {order}" for order in ORDERS)])
def test_every_term_tells_some_versions_from_others_or_finds_none(catalog: Catalog, text: str) -> None:
    assert paged(catalog, text, 7) == expected(catalog.entries(), text)


@pytest.mark.parametrize("text", ["", "net", "sort:-acc", "sort:acc", "sort:loss net*", "sort:created", "acc>=0.4"])
def test_pages_go_on_exactly_after_the_last_one_whatever_is_pushed_meanwhile(place: DatabasePlace, text: str) -> None:
    catalog = Catalog(place)
    stock(catalog, 40)
    before = [entry.ref for entry in catalog.search(parse(text))]
    found: list[str] = []
    after, seed = None, 1000
    while len(found) < 1000:
        page = catalog.search(parse(text), limit=6, after=after)
        found += [entry.ref for entry in page]
        if page.next is None:
            break
        after, seed = page.next, seed + 1
        push(catalog, "net", seed, metrics={"acc": (seed % 6) / 5, "loss": 0.4})
    assert len(set(found)) == len(found)
    assert [ref for ref in found if ref in before] == before


def test_a_version_without_the_metric_comes_last_in_both_directions(place: DatabasePlace) -> None:
    catalog = Catalog(place)
    for seed, metrics in enumerate(({"acc": 0.5}, {}, {"acc": 0.9}, {"loss": 1}, {"acc": 0.5})):
        push(catalog, "net", seed, metrics=metrics)
    assert [entry.version for entry in catalog.search(parse("sort:acc"))] == [5, 1, 3, 4, 2]
    assert [entry.version for entry in catalog.search(parse("sort:-acc"))] == [3, 5, 1, 4, 2]
    assert [entry.version for entry in catalog.search(parse("sort:acc acc<0.9"))] == [5, 1]


def test_a_sort_by_a_metric_that_no_version_has_names_those_there_are(place: DatabasePlace) -> None:
    catalog = Catalog(place)
    assert catalog.search(parse("sort:acc")) == ()
    push(catalog, "bare", 1)
    with pytest.raises(errors.UnsortableBy, match=r"no version here has the metric 'acc' .* there are no metrics"):
        catalog.search(parse("sort:acc"))
    push(catalog, "net", 2, metrics={"acc": 0.5, "loss": 1})
    with pytest.raises(errors.UnsortableBy, match=r"no version of net has the metric 'val_acc' .*'acc', 'loss'"):
        catalog.search(parse("net sort:-val_acc"))
    with pytest.raises(errors.UnsortableBy, match="no version of bare"):
        catalog.search(parse("bare sort:acc"))
    assert catalog.search(parse("bare* sort:acc"))[0].name == "bare"
    assert catalog.search(parse("net sort:acc acc>1")) == ()
    assert catalog.search(parse("sort:nothing"), trashed=True) == ()


def test_a_token_is_of_one_query_and_of_nothing_else(catalog: Catalog) -> None:
    token = catalog.search(parse("sort:-acc"), limit=2).next
    assert token is not None
    for text, trashed in (("sort:acc", False), ("", False), ("sort:-acc net", False), ("sort:-acc", True)):
        with pytest.raises(errors.UnusablePageToken, match="another query"):
            catalog.search(parse(text), limit=2, after=token, trashed=trashed)
    for odd in ("", "x", "é", token[:-3], token + "AAAA", "WzEsMl0", "bnVsbA", "W" * 2000, "\ud800"):
        with pytest.raises(errors.UnusablePageToken):
            catalog.search(parse("sort:-acc"), limit=2, after=odd)


def test_a_query_that_is_worded_otherwise_goes_on_with_the_same_token(catalog: Catalog) -> None:
    token = catalog.search(parse("acc>=0.2  net"), limit=2).next
    assert catalog.search(parse("net acc >= .2"), limit=2, after=token) == catalog.search(parse("net acc>=0.2"))[2:4]


def test_a_page_is_a_tuple_that_travels(catalog: Catalog) -> None:
    page = catalog.search(parse("net"), limit=3)
    assert isinstance(page, tuple) and isinstance(page, Page) and page.next
    assert page == tuple(page)
    again = pickle.loads(pickle.dumps(page))
    assert (again, again.next) == (page, page.next)
    assert catalog.search(parse("net")).next is None


def test_a_model_that_is_not_there_is_an_error_and_a_pattern_that_fits_none_is_not(catalog: Catalog) -> None:
    with pytest.raises(errors.UnknownModel, match="did you mean net"):
        catalog.search(parse("nett acc>0"))
    assert catalog.search(parse("nett* acc>0")) == ()
    assert catalog.search(parse("net acc>2")) == ()


def test_a_parent_is_found_under_the_name_that_it_bears_now(folder: Path) -> None:
    import torch

    hub = Registry(folder)
    for step in range(3):
        parent = f"net:v{step}" if step else None
        hub.push({"w": torch.full((2,), float(step))}, "net", from_="single", parent=parent)
    assert [entry.version for entry in hub.list("parent:net:v1")] == [2]
    assert [entry.version for entry in hub.list("parent:net")] == [3, 2]


def test_the_old_keywords_of_a_listing_say_what_to_write(folder: Path) -> None:
    hub = Registry(folder)
    for keyword in ({"metric": "acc>=0.9"}, {"name": "net"}):
        with pytest.raises(errors.WrongCall, match=r"part of the query: list\('pointnet acc>=0.9'\)"):
            hub.list(**wrong(keyword))


def test_models_are_listed_by_name_and_by_pattern(catalog: Catalog) -> None:
    live = catalog.entries()
    for model in catalog.models():
        own = [entry for entry in live if entry.name == model.name]
        assert (model.live, model.newest, model.changed_at) == (len(own), own[0].version, own[0].created_at)
        assert model.aliases == {alias: entry.version for entry in own for alias in entry.aliases}
        assert model.uid == own[0].uid
    assert [model.name for model in catalog.models("net*")] == ["net", "net-b"]
    assert [model.name for model in catalog.models("o_*")] == ["o_her"]
    with pytest.raises(errors.UnknownModel):
        catalog.models("nett")


@pytest.mark.parametrize("by", ["acc", "created", "epoch"])
@pytest.mark.parametrize("value", ["\ud800", "nine", "\0", 1.5, float("nan"), float("inf"), True, 2**63])
def test_a_token_with_a_value_that_no_page_ends_at_is_none(catalog: Catalog, by: str, value: Any) -> None:
    query = parse(f"sort:{by}")
    token = Place(value, 7).token(f"{query} in the registry")
    if (by, value) in {("acc", 1.5), ("created", "nine")}:  # a user could have had it
        assert catalog.search(query, limit=1, after=token) is not None
        return
    with pytest.raises(errors.UnusablePageToken):
        catalog.search(query, limit=1, after=token)


def test_a_limit_may_be_as_large_as_a_number(folder: Path) -> None:
    import torch

    hub = Registry(folder)
    hub.push({"w": torch.ones(2)}, "net", from_="single")
    assert [len(hub.list("net", limit=limit)) for limit in (2**62, 2**63 - 1)] == [1, 1]
