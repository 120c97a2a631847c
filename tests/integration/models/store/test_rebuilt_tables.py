"""A migration that rebuilds a table loses none of the rows that reference it."""

from pathlib import Path

from alembic import command

from migrations import configuration, head
from models.store import jobs
from models.store.database import Database
from models.store.transitions import get_job
from tests.factories import finished_job

# SQLite alters a table by copying and dropping it; PostgreSQL alters it in place.
REBUILDING = """
import sqlalchemy as sa
from alembic import op

revision = "rebuild"
down_revision = "{head}"


def upgrade():
    with op.batch_alter_table("jobs", recreate="{recreate}") as batch:
        batch.add_column(sa.Column("mood", sa.String(10), nullable=True))


def downgrade():
    with op.batch_alter_table("jobs", recreate="{recreate}") as batch:
        batch.drop_column("mood")
"""


def test_rows_that_reference_a_rebuilt_table_are_preserved(database: Database, tmp_path: Path) -> None:
    recreate = "always" if database.engine.dialect.name == "sqlite" else "never"
    (tmp_path / "rebuild.py").write_text(REBUILDING.format(head=head(), recreate=recreate))
    config = configuration()
    own = config.get_main_option("script_location")
    config.set_main_option("version_locations", f"{own}/versions:{tmp_path}")
    job = finished_job(database, epochs=2)
    database.close()
    for move, revision in ((command.upgrade, "head"), (command.downgrade, head())):
        move(config, revision)
        with database.read() as session:
            assert get_job(session, job.id).result is not None
            assert len(jobs.get_epochs(session, job.id)) == 2
            assert jobs.get_events(session, job.id)


def test_foreign_keys_are_enforced_after_a_migration(database: Database) -> None:
    command.downgrade(configuration(), "base")
    command.upgrade(configuration(), "head")
    job = finished_job(database)
    with database.write() as session:
        jobs.delete_job(session, job.id)
    with database.read() as session:
        assert not jobs.get_epochs(session, job.id)
        assert not jobs.get_events(session, job.id)
