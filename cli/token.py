"""``registry token``."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .rendering import ago, number_of, print_json, say, table

if TYPE_CHECKING:
    from registry.catalog.tokens import Token

app = typer.Typer(help="Decide who may do what with a served registry.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def add(
    user: Annotated[
        str, typer.Argument(metavar="USER", help="Who gets it, and stands in `registry log` for what is done with it.")
    ],
    role: Annotated[
        str,
        typer.Option(
            "--role", metavar="ROLE", help="read; write (push, alias, tag, annotate, too); admin (rm, rename, too)."
        ),
    ] = "read",
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models", metavar="PATTERN", help="Only models of these names, such as 'team/*'; may be repeated."
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", metavar="TIME", help="How long it is valid: 90d, 12h, 2w. [default: it does not expire]"
        ),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Make a token for a user, and show it, once.

    It is stored nowhere: who loses it gets another one. A server that runs already takes it at once.

    Example: registry token add ann --role write --models 'team/*' --expires 90d
    """
    from registry.catalog.tokens import ROLES

    options.one_of("--role", role, ROLES)
    lifetime = None if expires is None else options.parse_duration(expires)
    made = options.registry_at(home).add_token(user, role=role, models=models or ("*",), expires=lifetime)
    if as_json:
        print_json({"token": made.text, **_document(made.token)})
        return
    say(made.text)
    until = f" until {made.token.expires_at:%Y-%m-%d}" if made.token.expires_at else ""
    allowed = f"{made.token.role} on {', '.join(made.token.models)}{until}"
    say(f"token {made.token.number} of {made.token.user}: {allowed}; it is shown this once and stored nowhere")
    say(f"{made.token.user} runs `registry login` with the server's address, and gives it there")


@app.command(name="list")
def list_tokens(home: options.Home = None, as_json: options.Json = False) -> None:
    """List the tokens: whose, for what, and when last used.

    Example: registry token list
    """
    tokens = options.registry_at(home).tokens()
    if as_json:
        print_json([_document(each) for each in tokens])
        return
    if not tokens:
        say("there are no tokens; `registry token add USER` makes one")
        return
    rows = [
        (
            str(each.number),
            each.user,
            each.role,
            ", ".join(each.models),
            each.state(datetime.now(UTC)),
            f"{each.expires_at:%Y-%m-%d}" if each.expires_at else "never",
            ago(each.last_used_at) if each.last_used_at else "never",
        )
        for each in tokens
    ]
    table((("token", "user", "role", "models", "is", "expires", "last used"), *rows), right=("token",), dim=())


@app.command()
def revoke(
    which: Annotated[str, typer.Argument(metavar="NUMBER|USER", help="One token by its number, or all of a user.")],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Revoke a token, or all tokens of a user.

    The next request with it is refused.

    Example: registry token revoke ann
    """
    revoked = options.registry_at(home).revoke_token(int(which) if which.isdecimal() else which)
    if as_json:
        print_json([_document(each) for each in revoked])
        return
    numbers = ", ".join(str(each.number) for each in revoked)
    say(f"revoked {number_of(len(revoked), 'token')} of {revoked[0].user}: {numbers}")


def _document(token: Token) -> dict[str, object]:
    """Return a token for ``print_json``, with whether it is valid now."""
    facts = {each.name: getattr(token, each.name) for each in fields(token)}
    return {**facts, "state": token.state(datetime.now(UTC))}
