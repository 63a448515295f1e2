"""When a connection of a sidecar has nothing under way."""

from __future__ import annotations

import socket

import pytest

from towline.agent.severing import Connection


@pytest.mark.parametrize(
    ("sent_ms", "received_ms", "received_bytes", "is_idle"),
    [
        (60, 50, 1, True),  # answered a while ago
        (60, 10, 1, False),  # an answer comes just now
        (50, 60, 1, False),  # asked since the last answer
        (60, 60, 1, False),  # both in the same tick: who knows
        (200, 200, 1, True),  # nobody has said anything for long since
        (200, 200, 0, False),  # never answered
    ],
)
def test_connection_is_idle_when_an_answer_was_the_last_for_a_while(
    sent_ms: int, received_ms: int, received_bytes: int, is_idle: bool
) -> None:
    connection = Connection(socket.AF_INET, bytes(48), sent_ms, received_ms, received_bytes)
    assert connection.is_idle is is_idle
