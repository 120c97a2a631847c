"""Patches of kombu and Celery, so that a worker outlives every outage and every client of its broker."""

from celery.worker.control import Panel
from kombu.transport import virtual
from kombu.transport.redis import Channel, QoS, Transport
from redis.exceptions import ResponseError


class PatchedQoS(QoS):
    """Kombu's QoS, except that a message whose acknowledgement failed no longer counts as unacknowledged.

    Kombu logs a failed acknowledgement and keeps counting the message. After as many of them as a worker has
    training processes, it would silently take no more messages. Redis delivers an unacknowledged message
    again later, and a duplicate does no harm.
    """

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message.

        Raises:
            redis.ConnectionError: the broker was not reached; the message counts as acknowledged here.
        """
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # kombu declares few types
        except BaseException:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]  # as above
            raise


def patch_kombu() -> None:
    """Patch every Redis channel of this process, and Celery's remote control: neither has settings for it."""
    # Who reaches the broker could otherwise stop every worker, or change how it logs. /readyz needs the ping.
    for command in Panel.data.keys() - {"ping"}:
        del Panel.data[command]
    Channel.QoS = PatchedQoS
    # Redis answers with an error while it is read-only (after a failover) or cannot save (disk full). Kombu
    # counts that as an error of the channel, and Celery's consumer ends; a connection error is retried.
    if ResponseError not in Transport.connection_errors:
        Transport.connection_errors = (*Transport.connection_errors, ResponseError)
