"""Names that are one tensor, as groups: found by identity, held apart, and contradicted by values."""

from __future__ import annotations

from hypothesis import given, strategies as st

from registry.tensors.ties import broken, separate, tied

identities = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=2), st.integers(0, 4), max_size=12)


@given(identities)
def test_every_two_names_of_one_identity_are_in_one_group_and_no_others(known: dict[str, int]) -> None:
    groups = tied(known)
    together = {(one, other) for group in groups for one in group for other in group if one != other}
    assert together == {(a, b) for a in known for b in known if a != b and known[a] == known[b]}
    assert len({name for group in groups for name in group}) == sum(map(len, groups))


@given(identities, identities)
def test_what_is_tied_is_not_separate_and_what_is_separate_is_not_tied(
    one: dict[str, int], other: dict[str, int]
) -> None:
    assert separate(tied(one), tied(one)) == ()
    apart = separate(tied(one), tied(other))
    for group in tied(one):
        values = {other.get(name, name) for name in group}
        assert (group in apart) == (len(values) > 1)


@given(identities, st.sets(st.text("abcdefgh", min_size=1, max_size=2)))
def test_a_tie_is_broken_by_values_of_names_that_are_there(values: dict[str, int], gone: set[str]) -> None:
    names, present = [*values, *gone], values.keys() - gone
    pair = broken(names, present, lambda a, b: values[a] == values[b])
    assert (pair is not None) == (len({values[name] for name in present}) > 1)
    assert pair is None or values[pair[0]] != values[pair[1]]
