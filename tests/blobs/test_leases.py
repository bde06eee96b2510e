"""Which pushes a collection takes for running, by what lies in the folder of leases."""

from __future__ import annotations

import os
import time

from registry.blobs.running import BELIEVED_SECONDS, FileLeases


def test_what_cannot_be_opened_counts_for_a_day(tmp_path):
    place = tmp_path / "elsewhere"
    place.touch()
    (tmp_path / "a.json").symlink_to(place)  # which is never followed
    leases = FileLeases(tmp_path)
    assert len(leases.held().ids) == 1
    old = time.time() - BELIEVED_SECONDS - 1
    os.utime(place, (old, old))
    assert len(leases.held().ids) == 0
    place.unlink()
    assert len(leases.held().ids) == 0
