"""The root of the error tree, and how what strangers named is shown."""

from __future__ import annotations


def shown(text: str, *, keep_lines: bool = False) -> str:
    """Return a text that comes from users or files with everything escaped that could act on a terminal.

    That is what is not printable: control characters, line feeds, overrides of the writing direction.
    """
    if text.isprintable():
        return text
    kept = "\n" if keep_lines else ""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


class RegistryError(Exception):
    """The root of every error that a user can cause or meet.

    The message is one paragraph: what is wrong, then what to do about it. Names in it come from files, so it is escaped
    here, for all: a line feed in one would otherwise begin a line that looks like one of ours.
    """

    def __init__(self, message: str = "", *, code: str = "") -> None:
        """Word it.

        Args:
            message: one paragraph.
            code: lines to run, below it; names in them are quoted as Python quotes them.
        """
        super().__init__(shown(message) + shown(code, keep_lines=True))
