"""A session that loses its agent or its way to the cluster gets them back by itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import dns.message
import dns.query
import pytest

from lab import network
from tests.e2e import objects
from tests.e2e.outage import REFUSAL, SILENCE, outage
from tests.e2e.returning import works
from tests.e2e.tow import GRACE_SECONDS, connected
from tests.e2e.waiting import until
from towline.cluster.job import AGENT_PORT

BACK_SECONDS = 60
# A link that is silent for so long is taken to be lost.
SILENT_SECONDS = 15

pytestmark = pytest.mark.usefixtures("no_trace")


def assert_comes_back(laptop, session, after):
    """It says so, and names and addresses work again."""
    session.event("reconnected", after=after, seconds=BACK_SECONDS)
    until(lambda: works(laptop), 10, "flows to work again")
    assert session.process.poll() is None


def agent_of(laptop):
    """The pod that the one session is connected to."""
    (status,) = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
    assert status["state"] == "connected"
    return status["agent"]


def delete(lab, pod):
    lab.kubectl("delete", "pod", pod, "-n", "default", "--wait=false")


def delete_at_once(lab, pod):
    lab.kubectl("delete", "pod", pod, "-n", "default", "--grace-period=0", "--force")


def evict(lab, pod):
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": "default"},
    }
    path = f"/api/v1/namespaces/default/pods/{pod}/eviction"
    lab.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def kill_agent(lab, pod):
    """As the node does when its memory is short."""
    uid = lab.kubectl_json("pod", pod, "-n", "default")["metadata"]["uid"]
    for pid in objects.processes_of_pod(uid):
        os.kill(pid, signal.SIGKILL)


def delete_job(lab, pod):
    job = lab.kubectl_json("pod", pod, "-n", "default")["metadata"]["ownerReferences"][0]["name"]
    lab.kubectl("delete", "job", job, "-n", "default", "--wait=false")


@pytest.mark.parametrize("lose", [delete, delete_at_once, evict, kill_agent, delete_job])
def test_lost_agent_is_replaced(lab, laptop, lose):
    with connected(laptop) as session:
        pod = session.ready()["agent"]
        seen = len(session.events)
        lose(lab, pod)
        session.event("reconnecting", after=seen, seconds=BACK_SECONDS)
        assert_comes_back(laptop, session, seen)
        assert agent_of(laptop) != pod
        until(lambda: len(objects.agents(lab)) == 1, 20, "only the new agent to be left")


def test_connections_of_a_lost_agent_end(lab, laptop):
    host = objects.addresses_of_service(lab, "sample")[0]
    with connected(laptop) as session, laptop.connect_to(host, 7000, seconds=30) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        seen = len(session.events)
        delete_at_once(lab, session.ready()["agent"])
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
        assert_comes_back(laptop, session, seen)


def test_way_to_the_cluster_that_is_cut_for_longer_than_the_agent_waits(lab, laptop):
    """As when a laptop sleeps, or changes networks."""
    with connected(laptop) as session:
        seen = len(session.events)
        with outage(laptop, SILENCE):
            session.event("reconnecting", after=seen, seconds=SILENT_SECONDS + 10)
            (status,) = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
            assert status["state"] == "reconnecting"
            limit = SILENT_SECONDS + GRACE_SECONDS + 20
            until(lambda: not objects.agents(lab), limit, "the agent to have given us up")
        assert_comes_back(laptop, session, seen)


def test_names_outside_work_while_the_way_to_the_cluster_is_cut(laptop):
    with connected(laptop) as session:
        with outage(laptop, REFUSAL):
            session.event("reconnecting", seconds=SILENT_SECONDS + 10)
            began = time.monotonic()
            done = laptop.run("getent", "ahostsv4", "outside.example")
            assert "198.51.100.7" in done.stdout
            assert time.monotonic() - began < 5
        assert_comes_back(laptop, session, 0)


def test_way_to_the_cluster_that_is_cut_for_less_than_the_agent_waits(laptop):
    with connected(laptop, "--grace=60") as session:
        pod = session.ready()["agent"]
        seen = len(session.events)
        with outage(laptop, SILENCE):
            session.event("reconnecting", after=seen, seconds=SILENT_SECONDS + 10)
        assert_comes_back(laptop, session, seen)
        assert agent_of(laptop) == pod


def test_frozen_session_goes_on_with_its_agent(lab, laptop):
    """A laptop that sleeps for less than the agent waits, but for longer than the link lasts.

    The agent has given up the link, and with it all connections: programs are told so.
    """
    host = objects.addresses_of_service(lab, "sample")[0]
    with connected(laptop, "--grace=60") as session, laptop.connect_to(host, 7000, 30) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        pod = objects.pod_of_agent(lab, session.ready())["metadata"]
        (agent,) = objects.processes_of_pod(pod["uid"])
        seen = len(session.events)
        session.process.send_signal(signal.SIGSTOP)
        until(lambda: is_stopped(session.pid), 5, "the session to be stopped")
        until(lambda: not has_link(agent), SILENT_SECONDS + 20, "the agent to give up the link")
        session.process.send_signal(signal.SIGCONT)
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
        assert_comes_back(laptop, session, seen)
        assert agent_of(laptop) == pod["name"]


def has_link(agent):
    """Whether a connection to the agent's port is there (proc(5): state 01 is ESTABLISHED)."""
    rows = [line.split() for line in Path(f"/proc/{agent}/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{AGENT_PORT:04X}") and row[3] == "01" for row in rows)


def is_stopped(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(") ")[2].startswith("T")


def ask(resolver, name):
    query = dns.message.make_query(name, "A")
    answer = dns.query.udp(query, network.DNS_V4, sock=resolver, timeout=4, ignore_unexpected=True)
    return [record.to_text() for rrset in answer.answer for record in rrset][-1]


def test_resolver_that_keeps_its_socket_is_never_cut_off(laptop):
    """It asks from the same port before a session, in one, and after it."""
    address = "198.51.100.7"
    with laptop.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as resolver:
        assert ask(resolver, "outside.example") == address
        with connected(laptop):
            assert ask(resolver, "outside.example") == address
        assert ask(resolver, "outside.example") == address


def test_resolver_that_is_begun_in_a_session_outlives_it(laptop):
    address = "198.51.100.7"
    with laptop.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as resolver:
        with connected(laptop):
            assert ask(resolver, "outside.default.svc.cluster.local") == address
        assert ask(resolver, "outside.example") == address
