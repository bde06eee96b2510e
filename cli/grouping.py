"""Help with the options in groups, as plain text."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class GroupedCommand(TyperCommand):
    """A command whose options stand under the words that ``rich_help_panel`` gives them, without rich."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                panel = getattr(parameter, "rich_help_panel", None)
                groups.setdefault(panel or ("Arguments" if is_argument else "Options"), []).append(record)
        # Those that every command has stand last.
        groups["Options"] = groups.pop("Options")
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
