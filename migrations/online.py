"""What a migration does to large tables while the service goes on."""

from typing import Any

from alembic import op


def create_index(name: str, table: str, columns: list[Any], **options: Any) -> None:
    """Create an index; PostgreSQL lets others write into the table meanwhile.

    What the migration did before is committed, so that it must be possible to repeat that.
    """
    if op.get_bind().dialect.name == "sqlite":
        op.create_index(name, table, columns, **options)
        return
    with op.get_context().autocommit_block():
        # It waits for all transactions that are older, however long those take.
        op.execute("SET lock_timeout = 0")
        # An interrupted attempt leaves an index that is not used.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)
        op.execute("SET lock_timeout = 2000")
