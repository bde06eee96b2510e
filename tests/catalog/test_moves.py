"""Where an alias pointed: at the end of a day, and before it was moved."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given, strategies as st

from registry.catalog.moves import Move, at_end_of, before

NUMBERS = st.lists(st.integers(1, 5), min_size=1, max_size=12)
FIRST = date(2026, 1, 1)


def made(numbers: list[int | None]) -> list[Move]:
    """Return one move a day, at noon; to where it is already, an alias is not moved."""
    moves: list[Move] = []
    for day, number in enumerate(numbers):
        if not moves or moves[-1].number != number:
            moves.append(Move(f"{FIRST + timedelta(days=day)}T12:00:00.000000+00:00", number))
    return moves


@given(NUMBERS)
def test_rolling_back_again_and_again_undoes_every_move_once(numbers: list[int]) -> None:
    moves = made(list(numbers))
    places = [move.number for move in moves]
    for expected in reversed(places[:-1]):
        number = before(moves)
        assert number == expected
        moves.append(Move("2027", number, is_back=True))
    assert before(moves) is None


@given(NUMBERS, st.integers(1, 5), st.integers(6, 9))
def test_a_move_after_a_rollback_is_undone_to_where_the_rollback_led(numbers: list[int], steps: int, new: int) -> None:
    moves = made(list(numbers))
    for _ in range(steps):
        if (number := before(moves)) is not None:
            moves.append(Move("2027", number, is_back=True))
    here = moves[-1].number
    moves.append(Move("2028", new))
    assert before(moves) == here


@given(NUMBERS)
def test_an_alias_that_was_removed_comes_back_to_where_it_pointed_last(numbers: list[int]) -> None:
    moves = [*made(list(numbers)), Move("2027", None)]
    assert before(moves) == moves[-2].number
    moves.append(Move("2028", before(moves), is_back=True))
    assert before(moves) == before(moves[:-2])


def test_what_was_never_set_was_nowhere() -> None:
    assert before([]) is None and at_end_of(FIRST, []) is None


@given(st.lists(st.none() | st.integers(1, 5), min_size=1, max_size=12), st.integers(-2, 14))
def test_at_the_end_of_a_day_an_alias_was_where_its_last_move_until_then_led(
    numbers: list[int | None], day: int
) -> None:
    until = numbers[: day + 1] if day >= 0 else []
    assert at_end_of(FIRST + timedelta(days=day), made(numbers)) == (until[-1] if until else None)


def test_a_day_ends_with_its_last_microsecond_in_utc() -> None:
    moves = [Move("2026-01-01T23:59:59.999999+00:00", 1), Move("2026-01-02T00:00:00.000000+00:00", 2)]
    assert (at_end_of(date(2026, 1, 1), moves), at_end_of(date(2026, 1, 2), moves)) == (1, 2)
