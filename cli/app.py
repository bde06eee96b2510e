"""The commands, by name."""

from __future__ import annotations

from typing import Annotated

import typer

from . import (
    alias,
    audit,
    check,
    database,
    demo,
    diff,
    doctor,
    export,
    gc,
    inspect,
    list_versions,
    load,
    log,
    push,
    restore,
    rm,
    show,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: importing rich would take a third of the time of a short command.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"registry {version('checkpoint-registry')}")
        raise typer.Exit()


@app.callback()
def registry(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A versioned registry of PyTorch checkpoints, every one in a single canonical, unwrapped form."""


app.command("push")(push.push)
app.command("list")(list_versions.list_versions)
app.command("show")(show.show)
app.command("inspect")(inspect.inspect)
app.command("load")(load.load)
app.command("check")(check.check)
app.command("audit")(audit.audit)
app.command("log")(log.log)
app.command("diff")(diff.diff)
app.command("export")(export.export)
app.command("alias")(alias.alias)
app.command("rm")(rm.rm)
app.command("restore")(restore.restore)
app.command("gc")(gc.gc)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(database.app, name="db")
