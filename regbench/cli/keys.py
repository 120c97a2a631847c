"""`regbench keys`."""

import json
from typing import Annotated

import typer

from models.scopes import Scope
from models.settings import Settings
from regbench.cli.options import AsJson, busy, say, write
from regbench.local.stack import manage_keys

keys = typer.Typer(
    no_args_is_help=True, help="Make, list and revoke the API keys of this machine's installation."
)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="For people to know the key by.")],
    owner: Annotated[str | None, typer.Option(help="Whose jobs it opens; default: local.")] = None,
    scope: Annotated[
        Scope, typer.Option(help="read: look; write: also change; admin: also see everybody's, and keys.")
    ] = Scope.WRITE,
    expires_days: Annotated[
        float | None, typer.Option(min=0, max=36_500, help="Days until it expires; default: never.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once; of an installation that was never started, its database too.

    \b
    Example:
      regbench keys create laptop --owner ann --scope read
    """
    options = ["--scope", str(scope)]
    options += [] if owner is None else [f"--owner={owner}"]
    options += [] if expires_days is None else ["--expires-days", str(expires_days)]
    settings = Settings()
    with busy("Bringing the database to its newest form"):
        said = manage_keys(settings, ["create", *options, *_json(as_json), "--", name])
    if not settings.database_url:
        say(f"For the installation in {settings.home}.")
    if as_json:
        write(said.encode())
        return
    key, _, about = said.partition("\n")
    typer.echo(key)
    say(about.strip())


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Show all keys: id, first letters, scope, owner, whether it is open, last use, name.

    \b
    Example:
      regbench keys list --json
    """
    with busy("Bringing the database to its newest form"):
        said = manage_keys(Settings(), ["list", *_json(as_json)])
    write(said.encode())


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")], as_json: AsJson = False
) -> None:
    """Close a key for good.

    \b
    Example:
      regbench keys revoke key_1
    """
    with busy("Bringing the database to its newest form"):
        said = manage_keys(Settings(), ["revoke", "--", key_id]).strip()
    say(said)
    if as_json:
        typer.echo(json.dumps({"id": key_id, "revoked": True}))


def _json(as_json: bool) -> list[str]:
    return ["--json"] if as_json else []
