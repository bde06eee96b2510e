"""Some mutations of real bundles; ``python tests/copying/fuzz_bundles.py --minutes 60`` makes more of them."""

from __future__ import annotations

import random
from pathlib import Path

from fuzz_bundles import fresh, mutant, outcome, seed
from hypothesis import HealthCheck, given, settings, strategies as st


def test_the_unchanged_bundle_is_taken(tmp_path: Path) -> None:
    content = seed(tmp_path)
    (tmp_path / "a.bundle").write_bytes(content)
    assert outcome(tmp_path / "a.bundle", tmp_path / "home", fresh(tmp_path / "home")) == "taken"


def test_a_mutated_bundle_is_taken_whole_or_refused_and_changes_nothing(tmp_path: Path) -> None:
    content, home = seed(tmp_path), tmp_path / "home"
    before = fresh(home)

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(number=st.integers(0, 2**32))
    def run(number: int) -> None:
        nonlocal before
        (tmp_path / "a.bundle").write_bytes(mutant(content, random.Random(number), tmp_path / "b.bundle"))
        if outcome(tmp_path / "a.bundle", home, before) == "taken":
            before = fresh(home)

    run()
