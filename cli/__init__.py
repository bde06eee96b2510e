"""The command line: it parses, calls one verb, renders, exits."""

from __future__ import annotations

import os
import sys
from atexit import register
from gc import freeze, set_threshold  # the name "gc" is that of a command here
from signal import SIG_IGN, SIGINT, signal

_INTERRUPTED = 130
"""Exit code of what Ctrl-C ended."""


def main() -> None:
    """Run ``registry``; what the library refuses is one sentence on standard error and exit code 1.

    Under ``--json`` a refusal is a document, too: ``{"error": {"code", "message", "fields"}}``.
    """
    _open_closed()
    try:
        code = _run()
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:  # of a file, not of the output
            raise
        code = _unsaid(error)
    except KeyboardInterrupt:  # also while the commands are imported, which takes longer than many of them
        print(f"registry: interrupted; {_stored()}", file=sys.stderr)
        code = _INTERRUPTED
    register(signal, SIGINT, SIG_IGN)  # what ends the process has nothing to say to a Ctrl-C
    sys.exit(code)


def _open_closed() -> None:
    """Let what the caller closed lead nowhere; the next file that is opened would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - pathlib is not imported yet


def _unsaid(error: OSError) -> int:
    """Say that the output cannot be written, unless whoever reads it has seen enough; return the exit code."""
    if not isinstance(error, BrokenPipeError):
        print(f"registry: the output cannot be written ({error.strerror}); {_stored()}", file=sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left of it is written at the end
    return 1


def _stored() -> str:
    """Say what a command that was stopped has left behind."""
    changes = sys.modules.get(f"{__name__.partition('.')[0]}.disk.changes")
    if changes is None or not changes.has_begun():
        return "nothing was stored or changed"
    return "something may have been stored or changed before; `registry log` shows what"


def _run() -> int:
    """Run one command, and return its exit code."""
    # Imports make many objects and leave none to collect: to look for those is an eighth of a short command's time.
    set_threshold(300_000)
    # So does the end of the process, which has all that they made: to look through it is a quarter of that time.
    register(freeze)
    from typer import Abort

    from registry.errors import RegistryError

    from . import document
    from .app import build
    from .completion import mend_words, wanted_command
    from .grouping import UsageError
    from .rendering import print_json, shown

    mend_words()
    document.forget()
    words = sys.argv[1:]
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    try:
        code = build(wanted_command(words))(words, prog_name="registry", standalone_mode=False) or 0
        if code == _INTERRUPTED:  # typer has made this of a Ctrl-C
            raise KeyboardInterrupt
        return code
    except RegistryError as error:
        print(f"registry: {shown(str(error), keep_lines=True)}", file=sys.stderr)
        refusal, code = error.document(), 1
    except UsageError as error:
        error.show()
        refusal, code = {"code": "wrong-usage", "message": error.format_message(), "fields": {}}, error.exit_code
    except Abort as abort:
        if isinstance(abort.__cause__, KeyboardInterrupt):
            raise abort.__cause__ from None
        return 1
    if document.is_wanted(words):
        print_json({"error": refusal})
    return code
