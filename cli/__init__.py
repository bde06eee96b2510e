"""The command line: it parses, calls one verb, renders, exits."""

from __future__ import annotations

import sys
from atexit import register
from gc import freeze, set_threshold  # the name "gc" is that of a command here


def main() -> None:
    """Run ``registry``; what the library refuses is one sentence on standard error and exit code 1."""
    try:
        _run()
    except KeyboardInterrupt:  # also while the commands are imported, which takes longer than many of them
        sys.exit(130)


def _run() -> None:
    # Imports make many objects and leave none to collect: to look for those is an eighth of a short command's time.
    set_threshold(300_000)
    # So does the end of the process, which has all that they made: to look through it is a quarter of that time.
    register(freeze)
    from registry.errors import RegistryError

    from .app import build
    from .completion import mend_words, wanted_command
    from .rendering import shown

    mend_words()
    try:
        build(wanted_command(sys.argv[1:]))(prog_name="registry")
    except RegistryError as error:
        print(f"registry: {shown(str(error), keep_lines=True)}", file=sys.stderr)
        sys.exit(1)
