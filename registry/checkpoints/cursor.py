"""Reading forward through the bytes of a pickle."""

from __future__ import annotations

from registry.checkpoints.pickles.vocabulary import BadPickle, Truncated

LONGEST_LINE = 1 << 16
"""Bytes of an argument that ends with a newline (protocol 0); reading long numbers is quadratic."""


class Cursor:
    """Reads forward through bytes, and never gives less than was asked for."""

    def __init__(self, content: bytes, position: int) -> None:
        self.content = content
        self.position = position
        self.size = len(content)

    def read(self, count: int) -> bytes:
        end = self.position + count
        if end > self.size:
            raise Truncated("it ends in the middle of the pickle")
        piece = self.content[self.position : end]
        self.position = end
        return piece

    def readline(self) -> bytes:
        # A short window first: copying a long one for every line of some bytes would take minutes.
        for reach in (128, 1024, 8192, LONGEST_LINE):
            window = self.content[self.position : self.position + reach]
            length = window.find(b"\n") + 1
            if length:
                self.position += length
                return window[:length]
            if len(window) < reach:
                raise Truncated("it ends in the middle of the pickle")
        raise BadPickle("a line of the pickle does not end")
