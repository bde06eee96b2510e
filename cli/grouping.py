"""Help with the commands and the options in groups, as plain text."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

UsageError: Any = typer.BadParameter.__bases__[0]
"""What a command line that cannot be read raises; where typer has it depends on its version."""


class GroupedCommand(TyperCommand):
    """A command whose options stand under the words that ``rich_help_panel`` gives them, without rich."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; what cannot be read is said in a user's words."""
        try:
            return list(super().parse_args(ctx, args))
        except UsageError as error:
            from .misspelled import worded

            error.message, error.possibilities = worded(error, self, ctx), None
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                panel = getattr(parameter, "rich_help_panel", None)
                if is_argument:  # all are texts, and their types say no more
                    record = (re.sub(r" <[\w\[\]]+>$", "", record[0]), record[1])
                groups.setdefault(panel or ("Arguments" if is_argument else "Options"), []).append(record)
        # Those that every command has stand last.
        groups["Options"] = groups.pop("Options")
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class PurposefulGroup(TyperGroup):
    """A group whose commands stand under the words that ``rich_help_panel`` gives them, without rich."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; of a word of another program say what it is called here."""
        try:
            return super().resolve_command(ctx, args)
        except UsageError as error:
            from .misspelled import ELSEWHERE

            if args[0] in ELSEWHERE and ctx.parent is None:
                error.message = f"No such command '{args[0]}'. Did you mean '{ELSEWHERE[args[0]]}'?"
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        purposes: dict[str, list[tuple[str, str]]] = {}
        longest = max(map(len, self.commands), default=0)
        for name, command in self.commands.items():
            summary = command.get_short_help_str(limit=formatter.width - longest - 6)
            # All of one width, so that the columns of all purposes stand below each other.
            purposes.setdefault(getattr(command, "rich_help_panel", None) or "Commands", []).append(
                (name.ljust(longest), summary)
            )
        for purpose, records in purposes.items():
            with formatter.section(purpose):
                formatter.write_dl(records)
