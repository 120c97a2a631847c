"""`regbench keys`."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.identifiers import OWNER_PATTERN, is_visible
from models.scopes import Scope
from models.settings import Settings
from regbench.cli.options import AsJson, echo_message, show_status, write_json

if TYPE_CHECKING:
    from models.store.service_tables import ApiKey

_MAX_NAME_LENGTH = 200
_STATUS = "Migrating the database"

keys = typer.Typer(
    no_args_is_help=True, help="Create, list and revoke the API keys of this machine's installation."
)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Name to recognize the key by.")],
    owner: Annotated[
        str | None, typer.Option(help="Owner whose jobs it gives access to; default: local.")
    ] = None,
    scope: Annotated[
        Scope,
        typer.Option(help="read: view jobs; write: also submit and change; admin: all owners, and keys."),
    ] = Scope.WRITE,
    expires_days: Annotated[
        float | None, typer.Option(min=0, max=36_500, help="Days until it expires; default: never.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, this once. Where there is no database yet, it is created too.

    \b
    Example:
      regbench keys create laptop --owner ann --scope read
    """
    if len(name) > _MAX_NAME_LENGTH or not name.isprintable() or not is_visible(name):
        raise typer.BadParameter(f"a name has 1 to {_MAX_NAME_LENGTH} printable characters, not only blanks")
    if owner is not None and not re.match(OWNER_PATTERN, owner):
        raise typer.BadParameter("an owner has 1 to 40 letters, digits, dots, dashes, underscores or @")
    if expires_days == 0:
        raise typer.BadParameter("--expires-days must be above 0")
    from regbench.local import installation  # noqa: PLC0415 (needs the service's packages)

    settings = Settings()
    with show_status(_STATUS):
        row, key = installation.create_key(
            settings, name=name, owner=owner, scope=scope, expires_days=expires_days
        )
    if not settings.database_url:
        echo_message(f"For the installation in {settings.home}.")
    if as_json:
        write_json(_to_document(row) | {"key": key})
        return
    typer.echo(key)
    echo_message(f"{row.id} gives access to {row.owner}'s jobs, scope {scope}. The key is not shown again.")


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List all keys: id, prefix, scope, owner, state, last use, name.

    \b
    Example:
      regbench keys list --json
    """
    from regbench.local import installation  # noqa: PLC0415 (needs the service's packages)

    with show_status(_STATUS):
        rows = installation.list_keys(Settings())
    if as_json:
        write_json([_to_document(row) for row in rows])
        return
    for row in rows:
        state = "active"
        if row.revoked_at:
            state = "revoked"
        elif row.expires_at:
            state = f"until {row.expires_at:%Y-%m-%d}"
        used = f"used {row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never used"
        typer.echo(f"{row.id}  {row.prefix}...  {row.scopes[0]:<5}  {row.owner}  {state}  {used}  {row.name}")
    if not rows:
        typer.echo("There are no keys.")


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="ID of a key, as listed by `regbench keys list`.")
    ],
    as_json: AsJson = False,
) -> None:
    """Revoke a key permanently.

    \b
    Example:
      regbench keys revoke key_1
    """
    from regbench.local import installation  # noqa: PLC0415 (needs the service's packages)

    with show_status(_STATUS):
        installation.revoke_key(Settings(), key_id)
    echo_message(f"{key_id} is revoked; a running service notices within 5 seconds.")
    if as_json:
        write_json({"id": key_id, "revoked": True})


def _to_document(row: "ApiKey") -> dict[str, Any]:
    times = ("created_at", "expires_at", "last_used_at", "revoked_at")
    return {
        **{name: getattr(row, name) for name in ("id", "name", "owner", "prefix")},
        "scope": row.scopes[0],
        **{name: time and time.isoformat() for name in times for time in [getattr(row, name)]},
    }
