"""Where an alias pointed: at the end of a day, and before it was moved."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from hypothesis import given, strategies as st

from registry.catalog.moves import Move, before, before_the_last, end_of

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


@given(st.lists(st.none() | st.integers(1, 4), max_size=20), st.data())
def test_the_newest_moves_tell_what_all_of_them_tell(numbers: list[int | None], data: st.DataObject) -> None:
    moves: list[Move] = []
    for number in numbers:
        if data.draw(st.booleans()) and (back := before(moves)) is not None:
            moves.append(Move("2027", back, is_back=True))
        elif (moves[-1].number if moves else None) != number:
            moves.append(Move("2026", number))
    assert before_the_last(reversed(moves)) == before(moves)


def test_no_more_moves_are_read_than_an_undo_needs() -> None:
    read = iter([Move("2026", 2), Move("2026", 1), Move("2026", 3)])
    assert before_the_last(read) == 1
    assert next(read).number == 3


def test_what_was_never_set_was_nowhere() -> None:
    assert before([]) is before_the_last([]) is None


@given(st.dates(max_value=date(9999, 12, 30)), st.times())
def test_a_day_ends_with_its_last_microsecond_in_utc(day: date, time: time) -> None:
    at = datetime.combine(day, time, UTC).isoformat(timespec="microseconds")
    assert at < end_of(day) <= (datetime.combine(day, time, UTC) + timedelta(days=1)).isoformat(timespec="microseconds")
