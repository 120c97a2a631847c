"""How many messages a worker may take: kombu's count, which an outage of the broker must not use up."""

from kombu.transport import virtual
from kombu.transport.redis import Channel, QoS


class ForgivingQoS(QoS):
    """Kombu's, but what could not be acknowledged no longer counts as being worked on.

    Kombu logs an acknowledgement that the broker did not hear, and goes on counting its message. After as
    many of them as a worker has training processes, it would take no message any more, and say nothing. What
    the broker holds unacknowledged, it delivers once more some time; a bell too many does no harm.
    """

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message.

        Raises:
            redis.ConnectionError: the broker did not hear it; it counts as acknowledged here.
        """
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # kombu declares few types
        except BaseException:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]  # as above
            raise


def forgive_lost_acknowledgements() -> None:
    """Have every Redis channel of this process count so; kombu has no setting for it."""
    Channel.QoS = ForgivingQoS
