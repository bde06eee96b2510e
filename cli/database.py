"""``registry db``."""

from __future__ import annotations

import typer

from . import options
from .rendering import print_json, say

app = typer.Typer(
    help="Show or upgrade the schema of the catalog's database.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def upgrade(home: options.Home = None, as_json: options.Json = False) -> None:
    """Bring the database to this program's schema.

    The first use of a newer program does the same, after a backup, whose path is printed. Of a database on a server no
    backup is made here: pg_dump makes one.

    Example: registry db upgrade
    """
    catalog = options.registry_at(home).catalog
    migration = catalog.migration
    if as_json:
        print_json({"revision": catalog.revision, "migration": migration})
    elif migration is None:
        say(f"the schema is current: revision {catalog.revision}")
    else:
        backup = f"; the database as it was is {migration.backup}" if migration.backup else ""
        say(f"upgraded to revision {catalog.revision}{backup}")


@app.command()
def current(home: options.Home = None, as_json: options.Json = False) -> None:
    """Show the schema's revision.

    Example: registry db current
    """
    catalog = options.registry_at(home).catalog
    if as_json:
        print_json({"revision": catalog.revision, "path": catalog.where})
    else:
        say(f"revision {catalog.revision} of {catalog.where}")
