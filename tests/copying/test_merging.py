"""What a copy adds: pure, so that it can be said of any two descriptions."""

from __future__ import annotations

from hypothesis import given, strategies as st

from registry.catalog.merging import Said, merge

KEYS = st.sampled_from(["a", "b", "c"])
SAID = st.builds(
    Said,
    metrics=st.dictionaries(KEYS, st.sampled_from([0.0, 0.5, 1.0])),
    tags=st.dictionaries(KEYS, st.sampled_from(["x", "y"])),
    note=st.sampled_from(["", "one", "two"]),
    aliases=st.dictionaries(KEYS, st.sampled_from(["net:v1", "net:v2"])),
)


def after(here: Said, there: Said, *, update: bool) -> Said:
    merged = merge("net:v1", here, there, update=update)
    return Said(
        {**here.metrics, **merged.metrics},
        {**here.tags, **merged.tags},
        here.note if merged.note is None else merged.note,
        {**here.aliases, **dict.fromkeys(merged.aliases, "net:v1")},
    )


@given(SAID, SAID, st.booleans())
def test_a_second_merge_adds_nothing(here: Said, there: Said, update: bool) -> None:
    merged = merge("net:v1", after(here, there, update=update), there, update=update)
    assert merged.added == ()


@given(SAID, SAID)
def test_nothing_that_was_here_changes_without_update(here: Said, there: Said) -> None:
    now = after(here, there, update=False)
    assert now.metrics.items() >= here.metrics.items()
    assert now.tags.items() >= here.tags.items()
    assert now.aliases.items() >= here.aliases.items()
    assert now.note == (here.note or there.note)


@given(SAID, SAID)
def test_all_that_is_there_is_here_with_update(here: Said, there: Said) -> None:
    now = after(here, there, update=True)
    assert now.metrics.items() >= there.metrics.items()
    assert now.tags.items() >= there.tags.items()
    assert all(now.aliases[alias] == "net:v1" for alias in there.aliases)
    assert now.note == (there.note or here.note)


@given(SAID, SAID, st.booleans())
def test_every_difference_is_named(here: Said, there: Said, update: bool) -> None:
    differences = merge("net:v1", here, there, update=update).differences
    metrics = {
        f"metric {key}" for key in here.metrics.keys() & there.metrics if here.metrics[key] != there.metrics[key]
    }
    assert {each.what for each in differences if each.what.startswith("metric")} == metrics
    assert all(each.taken == update for each in differences)
