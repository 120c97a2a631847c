"""Webhooks over HTTP: addresses that get a message when a job ends, and the deliveries to them."""

import binascii
from base64 import b64decode
from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Path, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.http import problem_types
from api.http.bodies import parse_body
from api.http.dependencies import CallerDep, DatabaseDep, SettingsDep, parse_id
from api.http.idempotency import IdempotentDep
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from api.http.schemas import ResponseModel
from models.errors import FieldError, InvalidSpec
from models.settings import Settings
from models.states import TERMINAL, JobState
from models.store import webhooks as store

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=StrictQueryRoute)

_DELIVERIES = 100


class NewWebhook(BaseModel):
    """A webhook to create."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(max_length=2_000, pattern=r"^https?://[^\s\x00]+$")] = Field(
        description="Where to POST to; https, unless this installation allows private addresses"
    )
    states: Annotated[tuple[JobState, ...], Field(min_length=1, max_length=len(TERMINAL))] = Field(
        TERMINAL, description="The ends of a job to send messages about; all, if left out"
    )
    secret: Annotated[str, Field(pattern=r"^whsec_[A-Za-z0-9+/]{32,88}={0,2}$")] | None = Field(
        None, description="Signs the messages; generated, if left out"
    )

    @field_validator("states")
    @classmethod
    def _only_ends(cls, states: tuple[JobState, ...]) -> tuple[JobState, ...]:
        if not set(states) <= set(TERMINAL):
            raise ValueError(f"a job ends as one of {', '.join(TERMINAL)}")
        return tuple(dict.fromkeys(states))


class Webhook(ResponseModel):
    """An address that gets a message when a job ends."""

    id: str
    url: str
    states: list[JobState]
    created_at: datetime


class CreatedWebhook(Webhook):
    """A new webhook; only here its secret is shown."""

    secret: str


class WebhookList(ResponseModel):
    """All webhooks, oldest first."""

    items: list[Webhook]


class Delivery(ResponseModel):
    """One message, and its outcome."""

    id: str = Field(description="The header `webhook-id`: the same however often it is sent")
    job_id: str | None = Field(description="Null in a test message")
    event: str = Field(description="`job.` and the state, or `webhook.test`")
    attempts: int
    next_attempt_at: datetime | None = Field(description="Null once it is delivered or has failed for good")
    delivered_at: datetime | None
    last_status: int | None = Field(description="HTTP status of the last response; null: there was none")
    last_error: str | None
    created_at: datetime


class DeliveryList(ResponseModel):
    """The latest messages to a webhook, newest first."""

    items: list[Delivery]


@documented(problem_types.NOT_FOUND)
async def parse_webhook_id(
    webhook_id: Annotated[str, Path(description="As `POST /v1/webhooks` gave it")],
) -> str:
    return parse_id("webhook", webhook_id)


WebhookId = Annotated[str, Depends(parse_webhook_id)]


@router.post("", status_code=status.HTTP_201_CREATED, response_model=CreatedWebhook)
@documented(headers=("Location",))
def create_webhook(
    new: Annotated[NewWebhook, Depends(parse_body(NewWebhook))],
    caller: CallerDep,
    database: DatabaseDep,
    settings: SettingsDep,
    idempotent: IdempotentDep,
    request: Request,
) -> Response:
    """Send a message to an address when your jobs end. Only this response shows the signing secret.

    Links in the messages begin with the address that this request was sent to.
    """
    _check_url(new.url, settings)
    check_secret(new.secret)
    with idempotent.executed(), database.write() as session:
        row = store.create_webhook(
            session,
            caller.owner,
            url=new.url,
            states=new.states,
            secret=new.secret,
            base_url=str(request.base_url).rstrip("/"),
            limit=settings.max_webhooks,
        )
        webhook = CreatedWebhook.model_validate(row)
        return idempotent.store_response(
            session, webhook, status.HTTP_201_CREATED, {"Location": f"/v1/webhooks/{row.id}"}
        )


def _check_url(url: str, settings: Settings) -> None:
    import httpx  # noqa: PLC0415 (0.1 s and 6 MB, its command line included, that the start need not take)

    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        # As a request would be sent: a host name with empty or overlong parts is none.
        httpx.URL(url)
        str(parts.hostname).encode("idna")
    except (ValueError, httpx.InvalidURL):
        has_host = False
    if not has_host:
        raise InvalidSpec([FieldError("/url", "has no valid host name")])
    if parts.username is not None or parts.password is not None:
        raise InvalidSpec([FieldError("/url", "must not contain a password: messages are signed instead")])
    if parts.scheme != "https" and not settings.webhook_private_addresses:
        raise InvalidSpec([FieldError("/url", "must be https: others could read messages in transit")])


def check_secret(secret: str | None) -> None:
    try:
        b64decode((secret or "").removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise InvalidSpec(
            [FieldError("/secret", "is not whsec_ and base64; leave it out to have one generated")]
        ) from None


@router.get("")
def list_webhooks(database: DatabaseDep) -> WebhookList:
    """All your webhooks, oldest first."""
    with database.read() as session:
        return WebhookList(items=[Webhook.model_validate(row) for row in store.get_all_webhooks(session)])


@router.get("/{webhook_id}")
def show_webhook(webhook_id: WebhookId, database: DatabaseDep) -> Webhook:
    """A webhook, without its secret."""
    with database.read() as session:
        return Webhook.model_validate(store.get_webhook(session, webhook_id))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(webhook_id: WebhookId, database: DatabaseDep) -> DeliveryList:
    """The latest hundred deliveries to a webhook: delivered, to be tried again, or failed, and why."""
    with database.read() as session:
        store.get_webhook(session, webhook_id)
        rows = store.get_deliveries(session, webhook_id, limit=_DELIVERIES)
        return DeliveryList(items=[Delivery.model_validate(row) for row in rows])


@router.post("/{webhook_id}/test", status_code=status.HTTP_202_ACCEPTED)
def send_test_message(webhook_id: WebhookId, database: DatabaseDep) -> Delivery:
    """Have a worker send a message of the type `webhook.test`, which is about no job."""
    with database.write() as session:
        return Delivery.model_validate(store.create_test_delivery(session, webhook_id))


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=status.HTTP_202_ACCEPTED)
def redeliver_message(
    webhook_id: WebhookId,
    delivery_id: Annotated[str, Path(description="The header `webhook-id` of the message")],
    database: DatabaseDep,
) -> Delivery:
    """Have a worker send a message again, with the same `webhook-id`, whether it has arrived or failed."""
    with database.write() as session:
        row = store.redeliver(session, webhook_id, parse_id("delivery", delivery_id))
        return Delivery.model_validate(row)


@router.delete("/{webhook_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_webhook(webhook_id: WebhookId, database: DatabaseDep) -> None:
    """Delete a webhook; messages that wait for it are not sent."""
    with database.write() as session:
        session.delete(store.get_webhook(session, webhook_id))
