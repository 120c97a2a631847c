"""API keys of the installation that the settings name: `python -m models.keys`, and `regbench keys`.

    python -m models.keys create NAME [--owner O] [--scope read|write|admin] [--expires-days 90] [--json]
    python -m models.keys list [--json]
    python -m models.keys revoke ID

It works on the database itself, so that the first key can be made before there is any.
"""

import argparse
import json
import re
import sys
from typing import Any

from sqlalchemy.exc import ProgrammingError

from models.errors import RegbenchError, ServiceUnavailable
from models.identifiers import OWNER_PATTERN
from models.scopes import Scope
from models.settings import get_settings
from models.store import audit, keys
from models.store.database import Database
from models.store.tables import LOCAL_OWNER, ApiKey

MAX_NAME = 200
MAX_DAYS = 36_500.0


def main() -> None:
    """Do what the command line asks, and print what came of it."""
    arguments = _arguments()
    database = Database(get_settings())
    try:
        sys.stdout.write(
            {"create": _create, "list": _list, "revoke": _revoke}[arguments.verb](database, arguments)
        )
    except (ServiceUnavailable, ProgrammingError):
        # SQLite and PostgreSQL call a missing table these.
        sys.exit("The database cannot be reached, or is not of the newest form; run: python -m migrations")
    except RegbenchError as error:
        # With argparse's exit code: there is no such key, and none at the next try.
        sys.stderr.write(f"{error.message}\n")
        sys.exit(2)
    finally:
        database.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m models.keys", description="API keys.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser("create")
    create.add_argument("name")
    create.add_argument("--owner", default=LOCAL_OWNER)
    create.add_argument("--scope", type=Scope, choices=list(Scope), default=Scope.WRITE)
    create.add_argument("--expires-days", type=float)
    create.add_argument("--json", action="store_true")
    verbs.add_parser("list").add_argument("--json", action="store_true")
    verbs.add_parser("revoke").add_argument("id")
    arguments = parser.parse_args()
    if arguments.verb == "create":
        if not re.fullmatch(OWNER_PATTERN, arguments.owner):
            parser.error("an owner has 1 to 40 letters, digits, dots, dashes, underscores or @")
        if not 0 < len(arguments.name) <= MAX_NAME or not arguments.name.isprintable():
            parser.error(f"a name has 1 to {MAX_NAME} letters that can be printed")
        days = arguments.expires_days
        if days is not None and not 0 < days <= MAX_DAYS:
            parser.error(f"--expires-days takes a number above 0, at most {MAX_DAYS:.0f}")
    return arguments


def _create(database: Database, arguments: argparse.Namespace) -> str:
    with database.write() as session:
        row, key = keys.create_key(
            session,
            name=arguments.name,
            owner=arguments.owner,
            scope=arguments.scope,
            expires_days=arguments.expires_days,
        )
        audit.record(session, "key_created", row.id, owner=LOCAL_OWNER)
        if arguments.json:
            return f"{json.dumps(_document(row) | {'key': key})}\n"
    return f"{key}\n{row.id} opens {row.owner}'s rows, scope {arguments.scope}. The key is not shown again.\n"


def _list(database: Database, arguments: argparse.Namespace) -> str:
    with database.read() as session:
        if arguments.json:
            return f"{json.dumps([_document(row) for row in keys.list_keys(session)])}\n"
        return "".join(f"{_line(row)}\n" for row in keys.list_keys(session)) or "There are no keys.\n"


def _document(row: ApiKey) -> dict[str, Any]:
    moments = ("created_at", "expires_at", "last_used_at", "revoked_at")
    return {
        "id": row.id,
        "name": row.name,
        "owner": row.owner,
        "scope": keys.scope_of(row),
        "prefix": row.prefix,
        **{name: moment and moment.isoformat() for name in moments for moment in [getattr(row, name)]},
    }


def _line(row: ApiKey) -> str:
    state = "revoked" if row.revoked_at else f"until {row.expires_at:%Y-%m-%d}" if row.expires_at else "open"
    used = f"used {row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never used"
    return f"{row.id}  {row.prefix}...  {keys.scope_of(row):<5}  {row.owner}  {state}  {used}  {row.name}"


def _revoke(database: Database, arguments: argparse.Namespace) -> str:
    with database.write() as session:
        row, was_open = keys.revoke_key(session, arguments.id)
        if was_open:
            audit.record(session, "key_revoked", row.id, owner=LOCAL_OWNER)
    return f"{row.id} is revoked; a running service notices within 5 seconds.\n"


if __name__ == "__main__":
    main()
