import math

import pytest
from databases import place_of, without_keys
from drafts import digest, new_version, push, weights

from registry.canonical.unwrap import Cut, Unwrapping
from registry.catalog.grammar import parse
from registry.catalog.version import Vanished
from registry.errors import (
    AmbiguousDigest,
    InvalidFact,
    InvalidMetric,
    NoLiveVersion,
    TrashedVersion,
    UnknownModel,
    UnknownVersion,
    UnstorableInit,
)


def test_a_version_comes_back_as_it_was_given(catalog):
    manifest, blobs = weights(1, ties=(("fc.weight", "fc.bias"),), values={"step": 3})
    unwrapping = Unwrapping((Cut("module", "ddp", "declared", 2),))
    given = new_version(
        "net",
        manifest,
        unwrapping=unwrapping,
        wrapper="ddp",
        saved_as="wrapped",
        world_size=4,
        model_class="pkg.mod:Net",
        init={"classes": 40, "nested": [1, {"a": None}]},
        source_name="best.pth",
        parent="net:v0",
        note="día\n2",
        metrics={"acc": 0.1 + 0.2, "val/loss@5": -1e-300},
        aliases=["best", "a"],
        documents={"training": b"\0\xff"},
    )
    entry = catalog.add_version(given, manifest, blobs)
    assert entry == catalog.resolve("net:v1")
    assert entry.unwrapping == unwrapping and entry.metrics == given.metrics and entry.init == given.facts.init
    assert (entry.aliases, entry.note, entry.world_size, entry.parent) == (("a", "best"), "día\n2", 4, "net:v0")
    assert (entry.tensor_count, entry.parameter_count, entry.byte_count) == (2, 6, 24)
    assert catalog.manifest_and_documents(entry)[0] == manifest
    assert (catalog.document(entry, "training"), catalog.document(entry, "example")) == (b"\0\xff", None)


def test_every_kind_of_reference_finds_its_version(catalog):
    first, second = push(catalog, "net", 1, aliases=["best"]), push(catalog, "net", 2)
    for text, entry in (
        ("net", second),
        ("net:latest", second),
        ("net:v1", first),
        ("net:best", first),
        (f"net@{first.digest[:8]}", first),
        (f"net@{second.digest}", second),
    ):
        assert catalog.resolve(text).ref == entry.ref


def test_an_unknown_reference_is_answered_with_the_nearest(catalog):
    push(catalog, "pointnet", 1, aliases=["best"])
    for text, error, hint in (
        ("pointnt", UnknownModel, "did you mean pointnet?"),
        ("pointnet:bst", UnknownVersion, "did you mean pointnet:best?"),
        ("pointnet:v9", UnknownVersion, "did you mean pointnet:v1?"),
        ("pointnet@ffff", UnknownVersion, "no version of pointnet has such a digest"),
    ):
        with pytest.raises(error, match=hint.replace("?", r"\?")):
            catalog.resolve(text)
    with pytest.raises(UnknownModel):
        catalog.entries("other")


def test_a_digest_prefix_that_fits_two_versions_is_refused(catalog):
    seen: dict[str, int] = {}
    for seed in range(2000):
        prefix = weights(seed)[0].weights_digest[:4]
        if prefix in seen:
            break
        seen[prefix] = seed
    push(catalog, "net", seen[prefix]), push(catalog, "net", seed)
    with pytest.raises(AmbiguousDigest, match=r"net:v2, net:v1"):
        catalog.resolve(f"net@{prefix}")


def test_weights_that_the_name_has_are_the_same_version_with_more_facts(catalog):
    push(catalog, "net", 1, metrics={"acc": 0.5}, note="first")
    again = push(catalog, "net", 1, metrics={"f1": 0.7}, note="second", aliases=["best"], wrapper="ddp")
    assert (again.ref, again.reused) == ("net:v1", True)
    assert again.metrics == {"acc": 0.5, "f1": 0.7}
    assert (again.note, again.aliases) == ("first\n\nsecond", ("best",))
    assert catalog.events("net")[1].details == {"reused": True, "metrics": {"f1": 0.7}, "note": "second"}


def test_weights_with_a_class_that_was_not_known_are_another_version(catalog):
    push(catalog, "net", 1)
    known = push(catalog, "net", 1, model_class="m:Net", init={"a": 1, "b": 2})
    assert (known.ref, known.reused) == ("net:v2", False)
    assert push(catalog, "net", 1, model_class="m:Net", init={"b": 2, "a": 1}, wrapper="ddp").ref == "net:v2"
    assert push(catalog, "net", 1, model_class="m:Net", init={"a": 2}).ref == "net:v3"
    assert push(catalog, "net", 1).reused
    assert push(catalog, "net", 1, documents={"training": b"x"}).ref == "net:v4"
    assert push(catalog, "net", 1, documents={"training": b"x", "proof": b"y"}).ref == "net:v4"


def test_weights_can_be_forced_to_be_another_version_and_other_names_have_their_own(catalog):
    push(catalog, "net", 1)
    assert push(catalog, "net", 1, force_new=True).ref == "net:v2"
    assert push(catalog, "other", 1).ref == "other:v1"


def test_weights_that_are_only_in_the_trash_make_a_new_version(catalog):
    catalog.trash(push(catalog, "net", 1))
    assert push(catalog, "net", 1).ref == "net:v2"


def test_a_new_file_has_no_tensors_of_one_whose_row_was_taken_out(catalog):
    push(catalog, "net", 1)
    old = [tensor.digest for tensor in weights(1)[0].tensors.values()]
    assert len(catalog.locate(old)) == 2
    catalog.close()
    without_keys(place_of(catalog), "DELETE FROM blobs")
    entry = push(catalog, "net", 2)
    assert catalog.locate(old) == {}
    assert catalog.needed_by(entry) == {digest("blob", 2)} and catalog.needed_by(catalog.resolve("net:v1")) == set()


def test_a_push_that_shares_vanished_tensors_has_to_look_again(catalog):
    manifest, _ = weights(1)
    with pytest.raises(Vanished):
        catalog.add_version(new_version("net", manifest), manifest, [])
    assert catalog.models() == () and catalog.events() == ()


def test_a_push_of_a_version_that_was_trashed_meanwhile_has_to_look_again(catalog):
    entry = push(catalog, "net", 1)
    manifest, blobs = weights(1)
    assert catalog.holds(new_version("net", manifest), manifest)
    catalog.trash(entry)
    assert not catalog.holds(new_version("net", manifest), manifest)
    with pytest.raises(Vanished):
        catalog.add_version(new_version("net", manifest), manifest, blobs, is_there=True)
    assert catalog.add_version(new_version("net", manifest), manifest, blobs).ref == "net:v2"


def test_stored_tensors_are_located(catalog):
    push(catalog, "net", 1)
    manifest, _ = weights(1)
    expected = {tensor.digest: tensor.location for tensor in manifest.tensors.values()}
    assert catalog.locate([*expected, *(f"{i:064x}" for i in range(3000))]) == expected


def test_metrics_select_versions(catalog):
    for seed, accuracy in enumerate((0.5, 0.9, 0.7)):
        push(catalog, "net", seed, metrics={"acc": accuracy})
    push(catalog, "other", 9, metrics={"acc": 0.9, "loss": 1})

    def found(text, **limits):
        return [entry.ref for entry in catalog.search(parse(text), **limits)]

    assert found("acc>=0.7") == ["other:v1", "net:v3", "net:v2"]
    assert found("acc = 0.9 net") == ["net:v2"]
    assert found("acc>0.5", limit=1) == ["other:v1"]
    assert found("nothing<1") == []


def test_listings_are_newest_first_and_leave_the_trash_out(catalog):
    entries = [push(catalog, "net", seed) for seed in range(4)]
    catalog.trash(entries[1])
    assert [entry.version for entry in catalog.entries("net")] == [4, 3, 1]
    assert [entry.version for entry in catalog.entries(limit=2)] == [4, 3]
    assert [entry.version for entry in catalog.entries(trashed=True)] == [2]
    assert (catalog.count(), catalog.count("net", trashed=True)) == (3, 1)
    summary = catalog.models()[0]
    assert (summary.name, summary.live, summary.newest) == ("net", 3, 4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "0.5", None, 10**400])
def test_a_metric_that_cannot_be_compared_is_refused(catalog, value):
    with pytest.raises(InvalidMetric):
        push(catalog, "net", 1, metrics={"acc": value})
    assert catalog.models() == ()


@pytest.mark.parametrize("key", ["", "a b", "a\0", "a\n", "é", "x" * 129, "a>b", 3])
def test_a_metric_that_cannot_be_asked_for_is_refused(catalog, key):
    with pytest.raises(InvalidMetric):
        push(catalog, "net", 1, metrics={key: 1.0})


@pytest.mark.parametrize(
    "facts",
    [
        {"note": "x" * 10_001},
        {"note": "a\0b"},
        {"note": "\ud800"},
        {"init": {"a": object()}},
        {"init": {"a": "x" * 10**6}},
    ],
)
def test_what_could_not_be_kept_as_it_is_is_refused(catalog, facts):
    with pytest.raises((InvalidFact, UnstorableInit)):
        push(catalog, "net", 1, **facts)
    assert catalog.models() == ()


def test_hostile_texts_are_kept_as_texts(catalog):
    hostile = "'); DROP TABLE versions; --\x1b[31m\r\n"
    entry = push(catalog, "net", 1, note=hostile, source_name="\udcff\0" + "x" * 10**5, creator=hostile)
    assert (entry.note, entry.creator) == (hostile, hostile)
    assert len(entry.source_name) == 500 and entry.source_name.startswith("\\udcff\\0x")


def test_without_a_live_version_a_name_says_where_they_are(catalog):
    entry = push(catalog, "net", 1)
    catalog.trash(entry)
    with pytest.raises(NoLiveVersion, match=r"registry list net --trash"):
        catalog.resolve("net")
    with pytest.raises(TrashedVersion, match=r"registry restore net:v1"):
        catalog.resolve("net:v1")
    with pytest.raises(TrashedVersion):
        catalog.resolve(f"net@{entry.digest[:6]}")


def test_a_push_here_has_no_origin_and_a_copy_keeps_its_record(catalog):
    pushed = push(catalog, "net", 1)
    copied = push(catalog, "copy", 1, origin='{"home":"elsewhere"}')
    assert pushed.origin is None and copied.origin == '{"home":"elsewhere"}'
    assert catalog.resolve("copy").origin == copied.origin
    assert copied.record_digest == pushed.record_digest


def test_a_push_of_known_weights_says_which_alias_it_moved(catalog):
    push(catalog, "net", 1, aliases=("best",))
    push(catalog, "net", 2, aliases=("best",))
    assert push(catalog, "net", 1, aliases=("best", "old")).notices == ("net:best was net:v2, and is now net:v1",)
    assert push(catalog, "net", 1, aliases=("best",)).notices == ()


def test_entries_are_members_of_sets(catalog):
    pushed = push(catalog, "net", 1, metrics={"acc": 0.9}, tags={"task": "seg"})
    assert {pushed, catalog.resolve("net")} == {pushed} and {pushed: 1}[catalog.resolve("net:v1")] == 1


def test_a_push_of_known_weights_says_which_metrics_it_changed(catalog):
    push(catalog, "net", 1, metrics={"acc": 0.92, "f1": 0.5, "loss": 2})
    again = push(catalog, "net", 1, metrics={"acc": 0.1, "f1": 0.5, "auc": 1})
    assert again.notices == ("acc of net:v1 was 0.92, and is now 0.1",)
    assert again.metrics == {"acc": 0.1, "f1": 0.5, "loss": 2, "auc": 1}
    assert catalog.events("net")[0].details["were"] == {"acc": 0.92}
    assert push(catalog, "net", 1, metrics={"acc": 0.1}).notices == ()
