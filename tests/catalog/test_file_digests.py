"""What files made of weights hash to, as the catalog keeps it."""

from __future__ import annotations

from databases import Place

from registry.catalog.catalog import Catalog
from registry.catalog.file_digests import FileKey


def test_a_file_is_known_by_what_decides_its_bytes_and_by_nothing_less(place: Place) -> None:
    key = FileKey("a" * 64, "b" * 64, 1)
    catalog = Catalog(place)
    catalog.note_file_sha256(key, "c" * 64)
    catalog.note_file_sha256(key, "d" * 64)
    again = Catalog(place)
    assert again.file_sha256(key) == "c" * 64, "what is known stays"
    for other in (key._replace(weights="e" * 64), key._replace(ties=""), key._replace(format=2)):
        assert again.file_sha256(other) is None
    assert not again.events(), "nothing of it is told"
