"""The command line: it parses, calls one verb, renders, exits."""

from __future__ import annotations

import sys

from .app import build


def main() -> None:
    """Run ``registry``; what the library refuses is one sentence on standard error and exit code 1."""
    from registry.errors import RegistryError

    from .rendering import shown

    try:
        build(*sys.argv[1:2])(prog_name="registry")
    except RegistryError as error:
        print(f"registry: {shown(str(error), keep_lines=True)}", file=sys.stderr)
        sys.exit(1)
