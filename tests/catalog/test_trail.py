from datetime import UTC, datetime, timedelta

import pytest
from databases import place_of, run_sql, tamper
from drafts import digest, push, weights

from registry.errors import AliasedVersion, ChangedVersion, NotInTrash, PurgedVersion, TrashedVersion, UnknownVersion
from registry.tensors.manifest import BlobRecord, Location, Manifest, StoredTensor


def soon():
    return datetime.now(UTC) + timedelta(seconds=1)


def test_every_change_is_in_the_trail(catalog):
    first, second = push(catalog, "net", 1), push(catalog, "net", 2, aliases=["best"])
    catalog.set_alias(first, "best")
    catalog.set_alias(first, "best")
    catalog.add_facts(first, metrics={"acc": 1}, note="good")
    catalog.add_facts(first, metrics={"acc": 1}, note="good")
    catalog.drop_alias("net", "best")
    catalog.trash(second)
    catalog.restore(second)
    catalog.trash(second)
    catalog.purge(soon())
    catalog.record_event("doctor")
    told = [(event.verb, event.reference) for event in reversed(catalog.events())]
    assert told == [
        ("push", "net:v1"),
        ("push", "net:v2"),
        ("alias", "net:v2"),
        ("alias", "net:v1"),
        ("note", "net:v1"),
        ("unalias", "net:v1"),
        ("rm", "net:v2"),
        ("restore", "net:v2"),
        ("rm", "net:v2"),
        ("gc", "net:v2"),
        ("doctor", None),
    ]
    newest = catalog.events("net", limit=1)[0]
    assert (newest.actor, newest.digest, newest.number) == ("me", second.digest, 10)
    assert catalog.events()[-4].details == {"alias": "best", "was": "net:v2"}
    assert catalog.check_books().trail == ()


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE events SET actor = 'you' WHERE id = 2", "event 2: it was changed"),
        ("UPDATE events SET at = '2000-01-01T00:00:00+00:00' WHERE id = 4", "event 4: it was changed"),
        ("UPDATE events SET previous = '' WHERE id = 3", "event 3: it does not follow"),
        ("DELETE FROM events WHERE id = 2", "event 3: the events after 1"),
        ("DELETE FROM events WHERE id = 4", "trail: it ends with event 3, where the catalog's last is 4"),
        ("DELETE FROM events", "trail: it ends with event 0"),
        (
            "INSERT INTO events VALUES (5, '', 'you', 'push', NULL, NULL, NULL, '{}', '', '', NULL)",
            "event 5: it does not",
        ),
    ],
)
def test_a_trail_that_was_tampered_with_shows_where(catalog, statement, fault):
    for seed in range(4):
        push(catalog, "net", seed)
    tamper(place_of(catalog), statement)
    assert any(str(found).startswith(fault) for found in catalog.check_books().trail)


@pytest.mark.parametrize("statement", ["UPDATE events SET actor = ''", "DELETE FROM events"])
def test_the_database_itself_refuses_to_change_the_trail(catalog, statement):
    push(catalog, "net", 1)
    with pytest.raises(Exception, match="the trail is append-only"):
        run_sql(place_of(catalog), statement)


def test_an_alias_moves_and_goes(catalog):
    first, second = push(catalog, "net", 1), push(catalog, "net", 2)
    catalog.set_alias(first, "best")
    catalog.set_alias(second, "best")
    assert catalog.resolve("net:best").ref == "net:v2" and catalog.resolve("net:v1").aliases == ()
    catalog.drop_alias("net", "best")
    for act in (lambda: catalog.resolve("net:best"), lambda: catalog.drop_alias("net", "best")):
        with pytest.raises(UnknownVersion):
            act()


def test_a_version_with_an_alias_goes_to_the_trash_only_by_force(catalog):
    entry = push(catalog, "net", 1, aliases=["best", "last"])
    with pytest.raises(AliasedVersion, match=r"'best', 'last' point to it"):
        catalog.trash(entry)
    assert catalog.resolve("net:best").ref == "net:v1"
    catalog.trash(entry, force=True)
    with pytest.raises(TrashedVersion):
        catalog.set_alias(entry, "best")
    with pytest.raises(TrashedVersion):
        catalog.trash(entry)
    catalog.restore(catalog.resolve("net", trashed=True))
    assert catalog.resolve("net:v1").trashed_at is None
    with pytest.raises(NotInTrash):
        catalog.restore(entry)


def test_the_last_event_of_a_change_tells_what_the_whole_of_it_left(catalog):
    entry = push(catalog, "net", 1, aliases=["best"])
    catalog.trash(entry, force=True)
    assert [event.verb for event in catalog.events()] == ["rm", "unalias", "alias", "push"]
    assert catalog.check_books().rows == ()


def test_a_purged_version_keeps_its_number_and_frees_its_blobs(catalog):
    first, second = push(catalog, "net", 1), push(catalog, "net", 2)
    needed = catalog.manifest_and_documents(first)[0].blobs
    catalog.trash(second)
    assert catalog.purge(datetime.now(UTC) - timedelta(days=1)) == ()
    assert catalog.referenced_blobs() == set(catalog.known_blobs())
    assert catalog.purge(soon()) == ("net:v2",)
    assert catalog.referenced_blobs() == needed
    assert catalog.forget_unneeded_blobs() == set(weights(2)[0].blobs)
    assert (
        set(catalog.known_blobs()) == needed
        and catalog.locate(tensor.digest for tensor in weights(2)[0].tensors.values()) == {}
    )
    for act in (lambda: catalog.resolve("net:v2"), lambda: catalog.restore(second)):
        with pytest.raises(PurgedVersion):
            act()
    with pytest.raises(ChangedVersion):
        catalog.manifest_and_documents(second)[0]
    assert push(catalog, "net", 2).ref == "net:v3"


def test_a_collection_is_one_transaction(catalog):
    entry = push(catalog, "net", 1)
    with pytest.raises(KeyboardInterrupt), catalog.write_lock():
        catalog.trash(entry)
        catalog.purge(soon())
        catalog.forget_unneeded_blobs()
        raise KeyboardInterrupt
    assert catalog.resolve("net:v1") == entry and len(catalog.events()) == 1


def test_a_repair_moves_the_same_weights_and_no_others(catalog):
    entry = push(catalog, "net", 1)
    manifest = catalog.manifest_and_documents(entry)[0]
    elsewhere = digest("elsewhere")
    moved = Manifest({n: StoredTensor(t.spec, t.digest, Location(elsewhere, 0)) for n, t in manifest.tensors.items()})
    catalog.distrust_blobs(manifest.blobs)
    assert catalog.locate(tensor.digest for tensor in manifest.tensors.values()) == {}
    catalog.replace_manifest(entry, moved, [BlobRecord(elsewhere, 9)])
    assert catalog.manifest_and_documents(entry)[0] == moved and elsewhere in catalog.referenced_blobs()
    assert catalog.locate([manifest.tensors["fc.bias"].digest])[manifest.tensors["fc.bias"].digest].blob == elsewhere
    with pytest.raises(ChangedVersion):
        catalog.replace_manifest(entry, weights(2)[0], weights(2)[1])


def test_a_row_whose_weights_were_edited_is_not_changed_further(catalog):
    entry = push(catalog, "net", 1)
    tamper(place_of(catalog), "UPDATE versions SET weights = 'ffff'")
    with pytest.raises(ChangedVersion):
        catalog.set_alias(entry, "best")
