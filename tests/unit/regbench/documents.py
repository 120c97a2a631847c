"""Documents as the service sends them."""

from typing import Any


def job(state: str = "queued", **changes: Any) -> dict[str, Any]:
    """A job of ten epochs, of which two are done."""
    return {
        "id": "job_1",
        "name": "dropout 0.5",
        "state": state,
        "spec": {"seed": 0},
        "spec_hash": "0" * 64,
        "experiment_id": None,
        "variant": None,
        "point": None,
        "progress": {"epoch": 2, "epochs": 10, "fraction": 0.25, "eta_seconds": 7.5},
        "error": None,
        "result": None,
    } | changes


def epoch(number: int) -> dict[str, Any]:
    """An epoch that validates at 0.9."""
    return {
        "epoch": number,
        "train_loss": 0.3,
        "train_accuracy": 0.95,
        "validation_loss": 0.4,
        "validation_accuracy": 0.9,
    }


def page(*items: Any, next_cursor: str | None = None) -> dict[str, Any]:
    """A page of a list."""
    return {"items": list(items), "next_cursor": next_cursor}


def problem(status: int, **changes: Any) -> dict[str, Any]:
    """A problem document (RFC 9457)."""
    return {
        "type": "invalid_spec",
        "title": "Invalid",
        "status": status,
        "detail": "One field is wrong.",
        "instance": "/v1/jobs",
        "errors": [],
        "request_id": "req_1",
    } | changes


def predictions(*labels: int) -> dict[str, Any]:
    """A job's predictions for images of these digits, each with a probability of 0.9."""
    return {
        "job_id": "job_1",
        "class_names": None,
        "predictions": [
            {
                "label": label,
                "confidence": 0.91,
                "probabilities": [0.91 if digit == label else 0.01 for digit in range(10)],
                "warnings": [],
                "dropout": None,
            }
            for label in labels
        ],
        "images": None,
    }


# The trials of an experiment: one has ended, one waits.
TRIALS = [
    {
        "variant": "[red]",
        "trial": number,
        "parameters": {"/learning_rate": 0.001},
        "seeds": [1, 2],
        "rung": None,
        "epochs": 0 if loss is None else 6,
        "validation_loss": {"mean": loss, "sd": loss and 0.01, "values": [loss, loss]},
        "state": "queued" if loss is None else "succeeded",
        "chosen": loss is not None,
    }
    for number, loss in enumerate([0.12345, None])
]
