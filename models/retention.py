"""What need not be kept any longer, removed by every worker once an hour and by `regbench prune`.

Checkpoints and half-written files of jobs that have ended always go, and all files of jobs that were
deleted; a worker that dies at the wrong moment, or an outage of the object store, may leave some behind.
A checkpoint that a retry resumes from, or could within a week of the failure, stays.
Models and predictions of jobs that finished so many days ago go too; results and histories stay.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select

from models.artifacts import ArtifactStore, is_checkpoint, parse_job_id
from models.files import PART
from models.states import JobState
from models.store.audit import JOB_DELETED
from models.store.database import Database
from models.store.service_tables import AuditEvent
from models.store.tables import Job
from models.store.transitions import get_database_now

_JOBS_A_QUERY = 500
_RETRY_DAYS = 7.0
"""How long after a failure a retry still finds the checkpoint."""


@dataclass(frozen=True)
class Pruned:
    """What was removed, or in a dry run would be."""

    files: int
    bytes: int
    unknown: int
    """Files of jobs that this database does not know. They stay: it may be the wrong database."""


def prune(database: Database, store: ArtifactStore, *, days: float = 0.0, dry_run: bool = False) -> Pruned:
    """Remove what ended jobs no longer need.

    Raises:
        ServiceUnavailable: the database cannot be reached.
    """
    # List the files before the jobs: a job created in between has no file in the list.
    files = store.list_files()
    useless, unknown = find_useless_files(database, files, days=days)
    if not dry_run:
        store.remove_files(useless)
    return Pruned(len(useless), sum(files[name] for name in useless), unknown)


def find_useless_files(database: Database, files: Collection[str], *, days: float) -> tuple[list[str], int]:
    """Which of `files` can go: of ended jobs checkpoints, half-written files and, past `days` above 0, all;
    of deleted jobs all.

    Also how many belong to jobs that the database does not know.

    Raises:
        ServiceUnavailable: the database cannot be reached.
    """
    # For each job that is known: when it ended; None if it has not.
    ended: dict[str, datetime | None] = {}
    deleted: set[str] = set()
    with database.read() as session:
        job_ids = sorted({parse_job_id(name) for name in files})
        for start in range(0, len(job_ids), _JOBS_A_QUERY):
            some = job_ids[start : start + _JOBS_A_QUERY]
            query = select(Job.id, Job.state, Job.finished_at).where(Job.id.in_(some))
            for row in session.execute(query):
                ended[row.id] = row.finished_at if JobState(row.state).terminal else None
            unknown = set(some) - ended.keys()
            deletions = select(AuditEvent.subject).where(AuditEvent.action == JOB_DELETED)
            deleted |= set(
                session.scalars(deletions.where(AuditEvent.subject.in_(unknown))) if unknown else ()
            )
        now = get_database_now(session)
        oldest = now - timedelta(days=days)
        retryable = or_(Job.finished_at.is_(None), Job.finished_at > now - timedelta(days=_RETRY_DAYS))
        resumable = set(
            session.scalars(select(Job.checkpoint_path).where(Job.checkpoint_path.is_not(None), retryable))
        )
    useless = [
        name
        for name in files
        if parse_job_id(name) in deleted
        or (
            name not in resumable
            and (finished := ended.get(parse_job_id(name)))
            and (is_checkpoint(name) or name.endswith(PART) or (days and finished < oldest))
        )
    ]
    known = ended.keys() | deleted
    return useless, sum(parse_job_id(name) not in known for name in files)
