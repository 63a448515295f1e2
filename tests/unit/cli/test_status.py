"""What `tow status` shows of sessions; the sessions are played."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from towline.cli import status
from towline.cli.status import _amount, _lines, _rates

OF_ANY = {
    "command": "connect",
    "pid": 7,
    "state": "connected",
    "context": "lab",
    "namespace": "shop",
    "server": "https://lab",
    "since": "2026-11-27T10:00:00+00:00",
}
CONNECT: dict[str, Any] = {
    **OF_ANY,
    "reconnects": 0,
    "failure": None,
    "ranges": ["10.96.0.0/16"],
    "echoes": True,
    "streams": 1,
    "received": 1_234_567,
    "sent": 980,
    "round_trip": 0.0123,
    "transport": "api",
    "dns": {
        "lookups": 12,
        "cluster": 20,
        "upstream": 5,
        "cached": 0,
        "nxdomain": 2,
        "failed": 0,
    },
}


def shown(session: dict[str, Any], rates: dict[str, float] | None = None) -> list[str]:
    return _lines(session, rates or {})


def test_session_with_a_link_tells_of_its_traffic_and_lookups() -> None:
    head, traffic, lookups = shown(CONNECT)
    assert head == "7  connect  connected  lab/shop  since 2026-11-27T10:00:00+00:00  10.96.0.0/16"
    assert traffic == (
        "    1 flow, received 1.2 MB, sent 980 B, round trip 12.3 ms, through the API"
    )
    assert lookups == (
        "    12 lookups, 2 of names that nobody has, 20 questions to the cluster, "
        "5 questions to this machine's nameservers"
    )


def test_those_who_share_its_agent_are_told() -> None:
    others = [{"who": "bob@desk", "command": "proxy", "since": "2026-11-27T10:00:00+00:00"}]
    assert "    agent shared with bob@desk (proxy)" in shown({**CONNECT, "shared_with": others})
    assert shown({**CONNECT, "shared_with": []}) == shown(CONNECT)


def test_rates_are_those_between_two_looks() -> None:
    later = {**CONNECT, "received": 3_234_567, "transport": "direct", "round_trip": None}
    rates = _rates(CONNECT, later, 2.0)
    assert shown(later, rates)[1] == (
        "    1 flow, received 3.2 MB (1.0 MB/s), sent 980 B (0 B/s), direct"
    )
    assert _rates({}, later, 2.0) == {}


def test_losses_of_the_link_are_told() -> None:
    failure = {"at": "2026-11-27T11:00:00+00:00", "reason": "gone"}
    lines = shown({**CONNECT, "reconnects": 2, "failure": failure})
    assert lines[0].endswith("  reconnected 2 times; 2026-11-27T11:00:00+00:00: gone")


def test_what_is_waited_for_is_told() -> None:
    waiting = "Waiting for a node for the agent: 0/1 nodes are available"
    assert shown({**CONNECT, "waiting": waiting})[1] == (
        "    waiting for a node for the agent: 0/1 nodes are available"
    )
    assert shown({**CONNECT, "waiting": ""}) == shown(CONNECT)


def test_session_of_another_version_is_shown_by_what_it_tells() -> None:
    assert shown({**OF_ANY, "target": "svc/web"}) == [
        "7  connect  connected  lab/shop  since 2026-11-27T10:00:00+00:00  svc/web: "
    ]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (2_500_000, "2.5 MB"),
        (7.1e9, "7.1 GB"),
        (1e13, "10000.0 GB"),
    ],
)
def test_amounts(size: float, text: str) -> None:
    assert _amount(size) == text


def test_json_is_all_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status.control, "find", lambda: [7])
    monkeypatch.setattr(status.control, "status", lambda _: CONNECT)
    done = CliRunner().invoke(status.command, ["-o", "json"])
    assert json.loads(done.output) == [CONNECT]
    monkeypatch.setattr(status.control, "find", list)
    assert CliRunner().invoke(status.command, []).output == "No session is running.\n"
