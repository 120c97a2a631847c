"""The body and signature of webhook messages, as standardwebhooks.com specifies."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from standardwebhooks import Webhook as Signer

from models.metrics import VARIANT_METRICS
from models.store.tables import Experiment, Job, Webhook


def build_body(
    event: str,
    webhook: Webhook,
    job: Job | None,
    experiment: Experiment | None = None,
    counts: Mapping[str, int] = MappingProxyType({}),
) -> str:
    """The message, as JSON, about a job, or an experiment with `counts` by state; else it is a test."""
    moment = datetime.now(UTC)
    data: dict[str, Any] = {"links": {"self": f"{webhook.base_url}/v1/webhooks/{webhook.id}"}}
    if job is not None:
        result, moment = job.result, job.finished_at or moment
        data = {
            "id": job.id,
            "name": job.name,
            "state": job.state,
            "labels": job.labels,
            "experiment_id": job.experiment_id,
            "variant": job.variant,
            "finished_at": _format_time(job.finished_at) if job.finished_at else None,
            "error": {"code": job.error_code, "message": job.error_message} if job.error_code else None,
            "result": result and {metric.name: getattr(result, metric.name) for metric in VARIANT_METRICS},
            "links": {"self": f"{webhook.base_url}/v1/jobs/{job.id}"},
        }
    elif experiment is not None:
        here = f"{webhook.base_url}/v1/experiments/{experiment.id}"
        data = {
            "id": experiment.id,
            "name": experiment.name,
            "labels": experiment.labels,
            "counts": dict(counts),
            "links": {
                "self": here,
                "report": f"{here}/report",
                "page": f"{webhook.base_url}/experiments/{experiment.id}",
            },
        }
    message = {"type": event, "timestamp": _format_time(moment), "data": data}
    return json.dumps(message, separators=(",", ":"))


def _format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def sign_headers(message_id: str, secret: str, text: str, *, now: datetime) -> dict[str, str]:
    """Headers with signature and timestamp, which protect against forgery and replay; `now` in UTC."""
    return {
        "Content-Type": "application/json",
        "User-Agent": f"Regbench/{version('regbench')} (webhooks)",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Signer(secret).sign(message_id, now, text),
    }
