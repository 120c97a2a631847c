"""Changes of what people call, sort and queue jobs and experiments by."""

from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models.edits import ExperimentEdit, JobEdit
from models.states import UNFINISHED
from models.store.experiments import lock_experiment
from models.store.jobs import add_labels, lock_job
from models.store.tables import Experiment, Job, JobLabel


def edit_job(session: Session, job_id: str, edit: JobEdit) -> Job:
    """Change a job, in any state.

    Raises:
        NotFound: there is no such job.
        InvalidSpec: it would have too many labels.
    """
    job = lock_job(session, job_id)
    spec: dict[str, Any] = {}
    if "name" in edit.model_fields_set:
        spec["name"] = job.name = edit.name
    if "priority" in edit.model_fields_set:
        spec["priority"] = job.priority = edit.priority or 0
    if "labels" in edit.model_fields_set:
        spec["labels"] = job.labels = edit.apply_to_labels(job.labels)
        session.execute(delete(JobLabel).where(JobLabel.job_id == job_id))
        add_labels(session, [job])
    if "notes" in edit.model_fields_set:
        job.notes = edit.notes or None
    if "archived" in edit.model_fields_set:
        job.archived = bool(edit.archived)
    # A retry is made from the specification, and is to have the same name, labels and priority.
    job.spec = job.spec | spec
    job.version += 1
    session.flush()
    return job


def edit_experiment(session: Session, experiment_id: str, edit: ExperimentEdit) -> Experiment:
    """Change an experiment; priority and archiving are also its own jobs', those that it created.

    Raises:
        NotFound: there is no such experiment.
        InvalidSpec: it would have too many labels.
    """
    experiment = lock_experiment(session, experiment_id)
    own_jobs = select(Job).where(Job.experiment_id == experiment_id).with_for_update(of=Job)
    document = experiment.document
    if "name" in edit.model_fields_set:
        experiment.name = edit.name
        document = document | {"name": edit.name}
    if "priority" in edit.model_fields_set:
        priority = edit.priority or 0
        document = document | {"base": document["base"] | {"priority": priority}}
        for job in session.scalars(own_jobs.where(Job.state.in_(UNFINISHED))):
            job.priority, job.spec = priority, job.spec | {"priority": priority}
            job.version += 1
    if "labels" in edit.model_fields_set:
        experiment.labels = edit.apply_to_labels(experiment.labels)
    if "notes" in edit.model_fields_set:
        experiment.notes = edit.notes or None
    if "archived" in edit.model_fields_set:
        experiment.archived = bool(edit.archived)
        for job in session.scalars(own_jobs.where(Job.archived.is_not(experiment.archived))):
            job.archived = experiment.archived
            job.version += 1
    experiment.document = document
    session.flush()
    return experiment
