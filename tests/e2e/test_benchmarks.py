"""The benchmarks run; their figures are for docs/performance.md, not for a test."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lab.layout import CHECKOUT

# Less than a test may take, so that it is this one's own failure.
SECONDS = 240
MEASURES = {
    *(f"{direction}_{flows}" for direction in ("up", "down") for flows in (1, 8, 64)),
    *("echo", "echo_p99", "connect"),
}
DOWNLINK_MEASURES = {
    "to_program",
    "from_program",
    "echo",
    "echo_p99",
    "requests",
    "connections",
}


def quick(*options):
    """The results of a run that is short."""
    argv = [sys.executable, "-m", "benchmarks", "--quick", "--rtt", "20", "--output", "json"]
    done = subprocess.run(
        [*argv, *options],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["tables"]
    return results


def test_quick_run_measures_every_way_and_names_each_aim(no_trace):
    results = quick("--part", "uplink")
    found = results["parts"]["uplink"]
    for way in ("kubectl", "websocket", "tow"):
        figures = found["rtt"]["20"][way]
        assert set(figures) >= MEASURES, way
        assert min(figures.values()) > 0, way
    assert found["rtt"]["20"]["tow"]["echo"] > 0.020, "the delay proxy was in the way"
    assert all(aim["value"] > 0 or "round trip -" in aim["what"] for aim in results["aims"])
    assert {"session", "agent"} <= set(found["memory"]["idle"])


@pytest.fixture(scope="module")
def transports(no_trace_of_module):
    return quick("--part", "transports", "--part", "losses")


@pytest.fixture(scope="module")
def crowds(no_trace_of_module):
    return quick("--part", "connections", "--part", "datagrams", "--part", "lookups")


def found_of(results, part):
    return results["parts"][part]["found"]


def test_each_transport_is_measured_beside_its_peers(transports):
    found = found_of(transports, "transports")
    figures = found["figures"]
    assert set(figures) == {"direct", "kubectl", "websocket", "tow api", "tow direct"}
    for way, measured in figures.items():
        assert set(measured) >= {"up_8", "down_8", "echo", "echo_p99", "connect"}, way
        assert min(measured.values()) > 0, way
    assert figures["tow direct"]["echo"] < 0.020 < figures["tow api"]["echo"]
    assert set(found["costs"]) == set(figures) - {"direct"}


def test_session_that_is_cut_or_loses_its_agent_is_awaited(transports):
    for transport, by_loss in found_of(transports, "losses").items():
        assert set(by_loss) == {"cut", "without an agent"}, transport
        assert all(0 < seen["back"] < 60 for seen in by_loss.values()), transport


def test_no_connection_of_many_is_lost_and_nothing_of_them_left(crowds):
    for transport, seen in found_of(crowds, "connections")["transports"].items():
        made = seen["made"][f"tow {transport}"]
        assert {kind: (each["count"], each["lost"]) for kind, each in made.items()} == {
            "in turn": (100, 0),
            "at a time": (100, 0),
        }
        assert list(seen["held"]) == ["0", "50"]
        for process, before in seen["before"]["descriptors"].items():
            assert seen["after"]["descriptors"][process] <= before, process


def test_datagrams_are_counted_where_they_arrive(crowds):
    ways = found_of(crowds, "datagrams")
    assert set(ways) == {"direct", "tow api", "tow direct"}
    for way, seen in ways.items():
        assert seen["echo"] > 0, way
        for offer, figures in seen["offers"].items():
            assert figures["rate"] > 0, (way, offer)
            assert 0 <= figures["loss"] < 1, (way, offer)


def test_lookups_are_compared_with_those_in_a_pod(crowds):
    found = found_of(crowds, "lookups")
    assert set(found["lookups"]) == {"in the pod", "api", "api, --dns-cache 30", "direct"}
    p50 = {name: seen["p50"] for name, seen in found["lookups"].items()}
    assert p50["api, --dns-cache 30"] < 0.020 < p50["api"]
    assert all(seen["rate"] > 0 for seen in found["lookups"].values())


def test_transports_are_compared_with_their_aims(transports, crowds):
    named = " ".join(aim["what"] for aim in transports["aims"] + crowds["aims"])
    for words in ("direct", "back after a cut", "idle connections", "lost of", "in the pod"):
        assert words in named


@pytest.fixture(scope="module")
def downlink(no_trace_of_module):
    return quick("--part", "downlink")


def test_downlink_is_measured_in_every_way(downlink):
    ways = downlink["parts"]["downlink"]["ways"]
    assert set(ways) == {"original", "unclaimed", "exchange", "tow", "websocket", "kubectl"}
    for way, figures in ways.items():
        assert set(figures) == DOWNLINK_MEASURES, way
        assert min(figures.values()) > 0, way
    assert ways["exchange"]["echo"] > 0.020, "the delay proxy was in the way"
    assert ways["unclaimed"]["echo"] < ways["exchange"]["echo"], "it stays in the cluster"


def test_downlink_is_asked_while_it_begins_ends_and_loses_its_laptop(downlink):
    found = downlink["parts"]["downlink"]
    for mode, seen in found["starts"].items():
        assert 0 < seen["says"] < seen["ready"], mode
        assert seen["answered"] > 0, mode
    for what, seen in found["disturbances"].items():
        assert seen["seconds"] > 0, what
        assert seen["requests"] >= 100, what
    assert found["switches"]["requests"] >= 300
    assert found["switches"]["lost"] == 0


def test_downlink_is_compared_with_its_aims(downlink):
    named = " ".join(aim["what"] for aim in downlink["aims"])
    for words in ("first answer, --mode selector", "round trip", "killed", "silent", "lost"):
        assert words in named


def test_agent_of_the_downlink_is_weighed_with_its_connections(downlink):
    memory = downlink["parts"]["downlink"]["memory"]
    assert set(memory) == {"0", "20"}
    assert all({"session", "agent"} <= set(figures) for figures in memory.values())


@pytest.fixture(scope="module")
def mesh(no_trace_of_module):
    return quick("--part", "mesh")


def test_mesh_is_measured_in_every_way(mesh):
    rates = mesh["parts"]["mesh"]["rates"]
    assert set(rates) == {"direct", "nginx", "unmatched", "matched"}
    for way, by_protocol in rates.items():
        assert set(by_protocol) == {"h1", "h2", "grpc"}, way
        for protocol, figures in by_protocol.items():
            assert min(figures.values()) > 0, (way, protocol)
    for protocol in ("h1", "h2", "grpc"):
        assert rates["matched"][protocol]["p50"] > 0.020, "the delay proxy was in the way"
        assert rates["unmatched"][protocol]["p50"] < rates["matched"][protocol]["p50"]


def test_mesh_is_asked_while_people_come_and_go(mesh):
    found = mesh["parts"]["mesh"]
    for who, seen in found["starts"].items():
        assert 0 < seen["says"] < seen["ready"], who
        assert min(seen.values()) > 0, who
    assert found["crowd"]["requests"] > 0
    assert found["crowd"]["lost"] == 0
    assert set(found["memory"]) == {"1", "3"}


def test_mesh_is_compared_with_its_aims(mesh):
    named = " ".join(aim["what"] for aim in mesh["aims"])
    for words in ("HTTP/1.1: unmatched / direct", "gRPC, p50", "joins a mesh", "lost at"):
        assert words in named


def test_large_cluster_is_compared_with_a_small_one(no_trace):
    results = quick("--part", "scale")
    small, large = (results["parts"]["scale"][size] for size in ("small", "large"))
    assert {"ready", "session", "agent", "lookup in the pod", "lookup missing"} <= set(small)
    assert set(large) == {*small, "lookup crowd"}
    assert min(large.values()) > 0
    assert len(results["aims"]) == len(small)


def test_proxies_are_compared(no_trace):
    found = quick("--part", "routers")["parts"]["routers"]
    for name in ("envoy", "haproxy", "nginx"):
        assert found[name]["image"] > 0, name
        assert found[name]["many"] > 0, name
    assert found["envoy"]["broken"] == found["envoy"]["lost"] == 0
