"""`regbench edit` and `regbench delete`."""

from typing import Annotated, cast

import typer

from regbench.base import Edit
from regbench.cli.jobs import check_labels
from regbench.cli.options import Ids, JsonLines, Url, connect, echo_message, is_experiment_id, write_json
from regbench.resources import Experiment, Job


def edit(
    ids: Ids,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Label to set; repeatable.", callback=check_labels),
    ] = None,
    remove_label: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Label to remove; repeatable.")
    ] = None,
    notes: Annotated[str | None, typer.Option(help="Notes, instead of those that there are.")] = None,
    priority: Annotated[
        int | None, typer.Option(min=-100, max=100, help="The queued job with the highest one is next.")
    ] = None,
    archive: Annotated[
        bool | None, typer.Option("--archive/--unarchive", help="Whether lists leave it out.")
    ] = None,
    url: Url = None,
    as_json: JsonLines = False,
) -> None:
    """Change name, labels, notes or priority of jobs or experiments, or archive them.

    Priority and archiving of an experiment apply to its own jobs, too.

    \b
    Examples:
      regbench edit exp_1 --name 'Dropout, second try' --label course=ml1
      regbench edit job_1 job_2 --archive
    """
    labels: dict[str, str | None] = dict.fromkeys(remove_label or [])
    labels |= {text.partition("=")[0]: text.partition("=")[2] for text in label or []}
    options: Edit = {
        "name": name,
        "labels": labels or None,
        "notes": notes,
        "priority": priority,
        "archived": archive,
    }
    changes = cast("Edit", {field: value for field, value in options.items() if value is not None})
    if not changes:
        raise typer.BadParameter("specify what to change, such as --name or --archive")
    with connect(url) as client:
        for resource_id in ids:
            resource: Job | Experiment
            if is_experiment_id(resource_id):
                resource = client.update_experiment(resource_id, **changes)
            else:
                resource = client.update_job(resource_id, **changes)
            if as_json:
                write_json(resource, indent=None)
            else:
                echo_message(f"{resource.title} ({resource.id}): {', '.join(changes)} changed")


def delete(
    ids: Ids,
    keep_jobs: Annotated[
        bool, typer.Option("--keep-jobs", help="Of an experiment, keep the jobs that it created.")
    ] = False,
    url: Url = None,
    as_json: JsonLines = False,
) -> None:
    """Delete jobs, or experiments with their jobs. They must have ended; there is no way back.

    Jobs that another experiment uses stay.

    \b
    Examples:
      regbench delete job_1
      regbench delete exp_2 --keep-jobs
    """
    with connect(url) as client:
        for resource_id in ids:
            if is_experiment_id(resource_id):
                client.delete_experiment(resource_id, keep_jobs=keep_jobs)
            else:
                client.delete_job(resource_id)
            if as_json:
                write_json({"id": resource_id, "deleted": True}, indent=None)
            else:
                echo_message(f"{resource_id}: deleted")
