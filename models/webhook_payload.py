"""The body and signature of webhook messages about ended jobs, as standardwebhooks.com specifies."""

import json
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook as Signer

from models.store.tables import Job

_METRICS = ("test_accuracy", "test_loss", "generalization_gap_loss", "epochs_run", "training_seconds")


def build_body(event: str, job: Job) -> str:
    """The message, as JSON."""
    result = job.result
    data: dict[str, Any] = {
        "id": job.id,
        "name": job.name,
        "state": job.state,
        "labels": job.labels,
        "experiment_id": job.experiment_id,
        "variant": job.variant,
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "error": {"code": job.error_code, "message": job.error_message} if job.error_code else None,
        "result": {name: getattr(result, name) for name in _METRICS} if result else None,
        "links": {"self": f"/v1/jobs/{job.id}"},
    }
    moment = job.finished_at or datetime.now(UTC)
    return json.dumps({"type": event, "timestamp": moment.isoformat(), "data": data}, separators=(",", ":"))


def sign_headers(message_id: str, secret: str, text: str, *, now: datetime) -> dict[str, str]:
    """Headers with signature and timestamp, which protect against forgery and replay; `now` in UTC."""
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Signer(secret).sign(message_id, now, text),
    }
