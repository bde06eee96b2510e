"""How much may be made of what a stranger wrote: in proportion to its bytes, whatever they describe. Pure."""

from __future__ import annotations

BASE = 16 << 20
"""Bytes of objects that anything may become, however short it is."""

EACH = 64
"""Bytes of objects for each byte that describes them; what tools write becomes up to 41."""

MOST = 640 << 20
"""Bytes of objects that nothing may exceed."""

MANY_NUMBERS = 20_000
"""Keys whose hashes are no secret, so that a file could make them collide and take quadratic time."""


class Spent(Exception):
    """More is made than what was read may become."""


class Budget:
    """A counter that every value which is made, or written out, is charged to; a shared one each time."""

    def __init__(self, nbytes: int, each: int = EACH) -> None:
        """Allow for what ``nbytes`` bytes describe; ``each`` is in bytes of objects for each of them."""
        self.limit = min(BASE + each * nbytes, MOST)
        self.left = self.limit

    def charge(self, nbytes: int) -> None:
        """Count bytes that are about to be used.

        Raises:
            Spent: there are not so many left.
        """
        self.left -= nbytes
        if self.left < 0:
            raise Spent(self.sentence)

    @property
    def sentence(self) -> str:
        """What to say where it is spent."""
        return f"it unfolds to more than {self.limit >> 20} MiB of objects"
