"""Homes of every schema, served."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import torch
from served import serving

from registry import Registry

pytestmark = pytest.mark.services

FIXTURES = Path(__file__).parents[1] / "durability" / "fixtures"


@pytest.mark.parametrize("fixture", sorted(FIXTURES.glob("rich-*.tar.gz")), ids=lambda path: path.name[:9])
def test_what_an_old_home_holds_is_the_same_at_a_server(fixture: Path, tmp_path: Path, cache: Path) -> None:
    with tarfile.open(fixture) as archive:
        archive.extractall(tmp_path / "old", filter="tar")
    [database] = (tmp_path / "old").rglob("registry.db")
    with serving(database.parent) as server:
        there, here = Registry(server.url), Registry(database.parent)
        entries = here.list()
        assert entries and there.list() == entries
        for entry in entries:
            assert there.get(entry.ref) == entry
            for hub in (there, here):
                hub.get(entry)
            mine, theirs = here.state_dict(entry), there.state_dict(entry)
            assert list(mine) == list(theirs)
            for name, value in mine.items():
                assert torch.equal(value, theirs[name]) if isinstance(value, torch.Tensor) else value == theirs[name]
            for kind in entry.attachments:
                assert there.catalog.document(entry, kind) == here.catalog.document(entry, kind)
        assert there.log() == here.log()
        assert there.models() == here.models()
        report = there.copy(None, tmp_path / "copied")
        assert len(report.of("copied")) == len(entries)
    assert Registry(tmp_path / "copied").audit().is_clean
