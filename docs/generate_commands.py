"""Write ``docs/commands.md`` from the help texts: ``python docs/generate_commands.py``."""

from __future__ import annotations

from pathlib import Path

import click
import typer.main

from registry.cli.app import build

PAGE = Path(__file__).parent / "commands.md"


def page() -> str:
    """Return the reference of every command, as ``--help`` prints it."""
    root = typer.main.get_command(build())
    parts = ["# Commands\n\nGenerated from `--help` by `python docs/generate_commands.py`.\n"]
    parts += [_section(name, command) for name, command in _commands(root, "registry")]
    return "\n".join(parts)


def _commands(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    found = [(name, command)]
    for child, inner in getattr(command, "commands", {}).items():
        found += _commands(inner, f"{name} {child}")
    return found


def _section(name: str, command: click.Command) -> str:
    context = command.make_context(name, [], resilient_parsing=True, terminal_width=100, max_content_width=100)
    return f"## {name}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page())
