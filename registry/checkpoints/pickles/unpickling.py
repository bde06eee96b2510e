"""Pickles, read without running anything in them.

A pickle is a program for a small stack machine, whose only dangerous instructions look up a Python object by its
name and call it. Here a name gives an inert ``Global``, and calling it looks in a table of ours: what is there is a
pure function over plain data, what is not there becomes a ``Foreign``, which records the call and is never built.

All that has to be trusted stands in four places: this loop, the table of instructions (``instructions``), what they
may do (``machine``), and the names that are known (``vocabulary`` and the modules that fill one). None of the standard
library's machines is underneath: the one in Python is private to it, and the one in C grows its memo to any index
that a pickle names, and resolves extension codes past ``find_class``.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any

from registry.checkpoints.cursor import Cursor
from registry.checkpoints.pickles.instructions import REFUSED, TABLE, Instruction
from registry.checkpoints.pickles.machine import StackMachine
from registry.checkpoints.pickles.vocabulary import BadPickle, Truncated, Vocabulary
from registry.tensors.budget import Budget, Spent


def unpickle(
    content: bytes,
    vocabulary: Vocabulary,
    persistent: Callable[[Any], Any] | None = None,
    position: int = 0,
    budget: Budget | None = None,
) -> tuple[Any, int]:
    """Read one pickle that begins at ``position``; return its value and where it ends.

    ``persistent`` gives what the format keeps outside of the pickle (storages); ``budget`` is for what several
    pickles may become together, by default one for the content.

    Raises:
        BadPickle: it is no pickle, or asks for what no checkpoint asks for.
    """
    cursor = Cursor(content, position)
    try:
        value = _run(StackMachine(cursor, vocabulary, persistent, budget or Budget(len(content) - position)))
    except BadPickle:
        raise
    except Spent as spent:
        raise BadPickle(f"the pickle is a bomb: {spent}") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise BadPickle(f"the pickle contradicts itself ({type(error).__name__}: {str(error)[:80]})") from error
    except (struct.error, RecursionError) as error:
        raise BadPickle(f"the pickle contradicts itself ({str(error)[:80]})") from error
    return value, cursor.position


def _run(machine: StackMachine) -> Any:
    """Follow the instructions until the one that ends the pickle; return what it leaves on the stack."""
    cursor, budget, instructions = machine.cursor, machine.budget, _INSTRUCTIONS
    content, size = cursor.content, cursor.size
    while (position := cursor.position) < size:
        cursor.position = position + 1
        cost, instruction = instructions[content[position]]
        budget.left -= cost
        if budget.left < 0:
            raise Spent(budget.sentence)
        if instruction is None:
            return machine.stack.pop()
        instruction(machine)
    raise Truncated("it ends in the middle of the pickle")


def _refusal(code: int) -> Instruction:
    reason = REFUSED.get(bytes([code]), f"has the byte {code} where an instruction should be")

    def refuse(machine: StackMachine) -> None:
        raise BadPickle(f"the pickle {reason}")

    return refuse


_INSTRUCTIONS: list[tuple[int, Instruction | None]] = [
    TABLE.get(bytes([code])) or (0, _refusal(code)) for code in range(256)
]
_INSTRUCTIONS[pickle.STOP[0]] = (0, None)
