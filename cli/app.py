"""The commands, by name."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer

from .grouping import GroupedCommand

UsageError: Any = typer.BadParameter.__bases__[0]
"""What a command line that cannot be read raises; where typer has it depends on its version."""

COMMANDS = (
    *(
        "push",
        "import",
        "list",
        "models",
        "show",
        "inspect",
        "load",
        "check",
        "audit",
        "log",
        "diff",
        "export",
        "copy",
        "alias",
        "tag",
        "annotate",
        "rename",
        "rm",
        "restore",
    ),
    *("prune", "blame", "card", "gc", "demo", "doctor", "init", "move", "serve", "ui", "cache", "login", "logout"),
)
"""Each is a function of the same name in the module of that name."""

_ELSEWHERE = {"import": "import_folder", "list": "list_versions"}
"""But for a name that would hide a builtin from the other modules, or is a keyword."""

GROUPS = {"db": "database", "token": "token"}
"""The module of each group of commands, with an ``app`` of its own."""


def build(only: str | None = None) -> typer.Typer:
    """Return the command line; with ``only`` the name of a command, without the others.

    To import all of them and to read their signatures takes as long as a short command.
    """
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # Plain help: importing rich would take a third of the time of a short command.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(registry)
    wanted = [only] if only in (*COMMANDS, *GROUPS) else [*COMMANDS, *GROUPS]
    for name in wanted:
        module = GROUPS.get(name) or _ELSEWHERE.get(name, name)
        found = import_module(f".{module}", __package__)
        if name in GROUPS:
            app.add_typer(found.app, name=name)
        else:
            app.command(name, cls=GroupedCommand)(getattr(found, module))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"registry {version('checkpoint-registry')}")
        raise typer.Exit()


def registry(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A versioned registry of PyTorch checkpoints, every one in a single canonical, unwrapped form."""
