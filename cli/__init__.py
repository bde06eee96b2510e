"""The command line: it parses, calls one verb, renders, exits."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``registry``; what the library refuses is one sentence on standard error and exit code 1."""
    try:
        _run()
    except KeyboardInterrupt:  # also while the commands are imported, which takes longer than many of them
        sys.exit(130)


def _run() -> None:
    from registry.errors import RegistryError

    from .app import build
    from .rendering import shown

    try:
        build(*sys.argv[1:2])(prog_name="registry")
    except RegistryError as error:
        print(f"registry: {shown(str(error), keep_lines=True)}", file=sys.stderr)
        sys.exit(1)
