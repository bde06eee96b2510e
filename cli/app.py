"""The commands, by name."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from .grouping import GroupedCommand, PurposefulGroup

PURPOSES = {
    "Begin": ("demo", "init"),
    "Store": ("push", "import", "copy"),
    "Find and compare": ("list", "models", "show", "log", "diff", "blame", "inspect", "check"),
    "Use": ("load", "export"),
    "Name and describe": ("alias", "tag", "annotate", "card", "rename"),
    "Keep in order": ("audit", "prune", "rm", "restore", "gc", "doctor", "move", "db"),
    "Serve a group": ("serve", "ui", "token", "login", "logout", "cache"),
}
"""The commands by what somebody wants to do. Each is a function of its name in the module of its name."""

_ELSEWHERE = {"import": "import_folder", "list": "list_versions"}
"""But for a name that would hide a builtin from the other modules, or is a keyword."""

GROUPS = {"db": "database", "token": "token"}
"""The module of each group of commands, with an ``app`` of its own."""

COMMANDS = tuple(name for names in PURPOSES.values() for name in names if name not in GROUPS)

_NEXT = (
    "Begin with `registry demo`, then `registry push FILE`. `registry COMMAND --help` has examples. Set "
    "REGISTRY_HOME=http://HOST:8080 to use a server."
)

_WIDEST = 120
"""Columns of a help text, at which a line can still be read."""


def build(only: str | None = None) -> typer.Typer:
    """Return the command line; with ``only`` the name of a command, without the others.

    To import all of them and to read their signatures takes as long as a short command.
    """
    app = typer.Typer(
        cls=PurposefulGroup,
        no_args_is_help=True,
        epilog=_NEXT,
        pretty_exceptions_enable=False,
        # Plain help: importing rich would take a third of the time of a short command.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST},
    )
    app.callback()(registry)
    purposes = {name: purpose for purpose, names in PURPOSES.items() for name in names}
    for name in [only] if only in purposes else purposes:
        module = GROUPS.get(name) or _ELSEWHERE.get(name, name)
        found = import_module(f".{module}", __package__)
        if name in GROUPS:
            app.add_typer(found.app, name=name, rich_help_panel=purposes[name])
        else:
            app.command(name, cls=GroupedCommand, rich_help_panel=purposes[name])(getattr(found, module))
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
