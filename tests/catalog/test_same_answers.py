"""Whatever is asked and said, both databases answer the same: the same rows in the same order, or the same error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from databases import Server
from drafts import push, weights
from hypothesis import example, given, settings, strategies as st

from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.catalog.grammar import parse
from registry.catalog.trail import Only
from registry.errors import RegistryError

pytestmark = pytest.mark.services

Pair = tuple[Catalog, Catalog]

ODD = (
    *("\0", "a\0b", "\ud800", "%", "_", "net%", "n_t", "*", "[a-z]*", "?", "\\", "'", '"', "é", "É", "ß", "ı"),
    *("\U0010ffff", "~", "null", "NaN"),
)
TEXTS = st.text(max_size=12) | st.sampled_from(ODD)
FIELDS = st.sampled_from(
    (
        *("", "class:", "wrapper:", "by:", "tag:", "tag:task=", "alias:", "kept:", "digest:", "base:", "parent:"),
        *("run:", "commit:", "builder:", "dtype:", "source:", "note:", "after:", "before:", "acc>=", "sort:", "sort:-"),
    )
)
ENDS = st.sampled_from(["", " sort:-acc", " net", " sort:size", "*"])


@pytest.fixture(scope="module")
def pair(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The same things said to each, with names that languages would sort otherwise than characters."""
    address = postgres.schema()
    catalogs = (Catalog(tmp_path_factory.mktemp("both") / "home", actor="me@here"), Catalog(address, actor="me@here"))
    for catalog in catalogs:
        names = ("net", "Net", "net-b", "net_b", "net.b", "N", "a/b", "zeta", "Zeta", "_x", "net2", "net10")
        for seed, name in enumerate(names * 3):
            least = {"acc": 1e308, "Acc": 5e-324}
            push(
                catalog,
                name,
                seed,
                metrics={"acc": (seed * 7 % 10) / 10, "loss": -float(seed)} if seed % 3 else least,
                tags={"task": ("seg", "ség", "Seg", "%", "_")[seed % 5]},
                aliases=["best", "Best", "b_st"][: seed % 4],
                note=("", "Frozen", "frozen é É", "100% _x_ \\ '")[seed % 4],
                wrapper=("none", "ddp", "compile(ddp)")[seed % 3],
                model_class=(None, "nets:Net", "nets:N_t")[seed % 3],
                run=(None, "run-1", "Run-1")[seed % 3],
                epoch=seed if seed % 2 else None,
                source_name=("best.pth", "Best.pth", "é.pth")[seed % 3],
            )
        for entry in catalog.entries(limit=9)[::3]:
            catalog.trash(entry, force=True)
    yield catalogs
    for catalog in catalogs:
        catalog.close()
    postgres.drop(address)


def answer(catalog: Catalog, ask: Callable[[Catalog], Any]) -> Any:
    try:
        return ask(catalog)
    except RegistryError as error:
        return type(error), str(error).replace(catalog._database.place, "HERE")


def same(pair: Pair, ask: Callable[[Catalog], Any]) -> Any:
    one, other = (answer(catalog, ask) for catalog in pair)
    assert one == other
    return one


def told(entries: tuple[Entry, ...]) -> list[Any]:
    return [(e.ref, e.aliases, dict(e.metrics), dict(e.tags), e.note, e.attachments, e.parent) for e in entries]


@settings(max_examples=300)
@given(field=FIELDS, text=TEXTS, more=ENDS, trashed=st.booleans())
@example("", "", "", False)
@example("note:", "\0", "", False)
@example("", "net*", "", False)
@example("sort:-", "Acc", "", False)
def test_a_query_finds_the_same(pair: Pair, field: str, text: str, more: str, trashed: bool) -> None:
    same(pair, lambda catalog: told(catalog.search(parse(f"{field}{text}{more}"), trashed=trashed, limit=7)))


@settings(max_examples=150)
@given(text=TEXTS, how=st.sampled_from(["{}", "{}:best", "net:{}", "net@{}", "net:best@{}", "{}:v1", "net:v{}"]))
@example("99999999999999999999", "net:v{}")
@example("9223372036854775807", "net:v{}")
def test_a_reference_finds_the_same(pair: Pair, text: str, how: str) -> None:
    same(pair, lambda catalog: catalog.resolve(how.format(text)).ref)
    same(pair, lambda catalog: [model.name for model in catalog.models(text)])
    same(pair, lambda catalog: told(catalog.entries(text)))


@settings(max_examples=100)
@given(text=TEXTS, limit=st.none() | st.integers(0, 5))
@example("push", None)
def test_the_trail_tells_the_same(pair: Pair, text: str, limit: int | None) -> None:
    def events(catalog: Catalog, only: Only) -> list[Any]:
        # The uid of a model is drawn by each.
        return [(e.number, e.verb, {**e.details, "uid": None}) for e in catalog.events(None, limit, only)]

    for only in (Only(actor=text), Only(verb=text)):
        same(pair, partial(events, only=only))
    same(pair, lambda catalog: [(e.number, e.reference) for e in catalog.events("net", limit)])


@settings(max_examples=100, deadline=None)
@given(note=TEXTS, tag=TEXTS, alias=TEXTS, metric=TEXTS, value=st.floats(), name=TEXTS)
def test_what_is_said_is_kept_or_refused_alike(
    pair: Pair, note: str, tag: str, alias: str, metric: str, value: float, name: str
) -> None:
    def annotate(catalog: Catalog, said: dict[str, Any]) -> None:
        catalog.add_facts(catalog.resolve("zeta:v1"), **said)

    def point(catalog: Catalog) -> None:
        catalog.set_alias(catalog.resolve("zeta:v1"), alias)

    for said in ({"note": note}, {"tags": {"task": tag}}, {"metrics": {metric: value}}, {"tags": {metric: "x"}}):
        same(pair, partial(annotate, said=said))
        same(pair, lambda catalog: told((catalog.resolve("zeta:v1"),)))
    same(pair, point)
    same(pair, lambda catalog: push(catalog, name, "said", source_name=note, weights_key=tag).ref)
    same(pair, lambda catalog: catalog.record_event("looked", None, {"what": note}))


def test_models_aliases_and_names_come_in_the_same_order(pair: Pair) -> None:
    same(pair, lambda catalog: [(model.name, model.live, model.newest) for model in catalog.models()])
    same(pair, lambda catalog: (catalog.names(), catalog.aliases(), catalog.sources()))
    assert same(pair, lambda catalog: catalog.check_books().trail) == ()


def test_sizes_may_be_larger_than_four_gigabytes(pair: Pair) -> None:
    _, (blob,) = weights("large")
    for catalog in pair:
        catalog.restate(catalog.resolve("net"), {blob.digest: 3 << 40})
    assert same(pair, lambda catalog: catalog.known_blobs()[blob.digest]) == 3 << 40
