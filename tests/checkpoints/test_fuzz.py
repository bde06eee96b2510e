"""Some mutations of real files; ``python tests/fuzz.py --minutes 60`` makes as many as there is time for."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import mutated, outcome, seeds

FILES = seeds()


@pytest.mark.parametrize("form", sorted(FILES))
def test_the_unchanged_file_is_read(tmp_path, form):
    (tmp_path / "a.pth").write_bytes(FILES[form])
    assert outcome(tmp_path / "a.pth") == "read"


@pytest.mark.parametrize("form", sorted(FILES))
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_mutated_file_is_read_or_refused(tmp_path, form, seed):
    (tmp_path / "a.pth").write_bytes(mutated(FILES[form], random.Random(seed)))
    outcome(tmp_path / "a.pth")
