"""How a worker handles an outage of the broker: a real Redis, which is stopped."""

import logging

import pytest
from celery.worker.control import Panel

from models.settings import Settings
from tests import servers
from worker.app import make_app
from worker.kombu_patch import patch_kombu


def test_a_message_that_cannot_be_acknowledged_does_not_block_the_next_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with servers.redis() as socket:
        app = make_app(Settings(broker_url=f"redis+socket://{socket}"))
        connection = app.connection_for_read()
        queue = connection.SimpleQueue("messages")
        queue.put("message")
        queue.channel.basic_qos(0, 1, False)
        delivery = queue.get(timeout=10)
    assert not queue.channel.qos.can_consume()
    delivery.ack_log_error(logging.getLogger(__name__), connection.connection_errors)
    assert "Couldn't ack" in caplog.text
    assert queue.channel.qos.can_consume()
    connection.collect()


def test_d13_remote_control_can_only_ping() -> None:
    patch_kombu()
    assert [*Panel.data] == ["ping"]
