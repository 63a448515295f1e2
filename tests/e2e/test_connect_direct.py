"""The link by the agent's own address, where the laptop reaches that."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lab import network
from lab.settings import PODS_V4
from tests.e2e import objects
from tests.e2e.tow import connected, starting
from tests.e2e.waiting import until

pytestmark = pytest.mark.usefixtures("no_trace")

TEMPORARY = 6
SECONDS = 30.0


def status(laptop):
    (found,) = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
    return found


def await_transport(laptop, wanted):
    until(lambda: status(laptop)["transport"] == wanted, SECONDS, f"the transport {wanted}")


def works(lab, laptop):
    """What goes through the session comes back whole, after the end of what is said."""
    text = bytes(range(256)) * 4000
    host = objects.addresses_of_service(lab, "sample")[0]
    with laptop.connect_to(host, 7000, seconds=SECONDS) as client, ThreadPoolExecutor(1) as pool:
        sent = pool.submit(say, client, text)
        got = b"".join(iter(lambda: client.recv(1 << 16), b""))
        sent.result()
    assert got.startswith(text)
    assert got[len(text) :].split() == [str(len(text)).encode(), b"bytes"]


def say(client, text):
    client.sendall(text)
    client.shutdown(socket.SHUT_WR)


def agents_connections(laptop):
    """The laptop's connections that do not go to the API server, as `ss` lists them."""
    done = laptop.run("ss", "-Htn", "state", "established", "dst", PODS_V4)
    return done.stdout.splitlines()


@contextmanager
def connected_directly(lab, laptop):
    with network.routed(lab.layout, PODS_V4), connected(laptop) as session:
        await_transport(laptop, "direct")
        until(lambda: agents_connections(laptop), SECONDS, "connections to the agent")
        yield session


@contextmanager
def cut_off(lab):
    """The agents' addresses are not reached from the laptop meanwhile, which is not told so."""
    chain = "chain inet e2e first { type filter hook prerouting priority -350; }"
    rule = f"rule inet e2e first iifname up0 ip daddr {PODS_V4} drop"
    rules = f"add table inet e2e; add {chain}; add {rule}"
    assert lab.run_in_node(["nft", rules]).returncode == 0
    try:
        yield
    finally:
        assert lab.run_in_node(["nft", "delete table inet e2e"]).returncode == 0


def test_link_takes_the_agents_own_address_where_it_can(lab, laptop):
    with connected_directly(lab, laptop):
        works(lab, laptop)


def test_link_comes_back_by_the_api_when_that_address_is_lost(lab, laptop):
    with connected_directly(lab, laptop) as session:
        seen = len(session.events)
        with cut_off(lab):
            session.event("reconnected", after=seen, seconds=SECONDS)
            works(lab, laptop)
            assert status(laptop)["transport"] == "api"


def test_new_agent_is_reached_directly_as_the_old_one_was(lab, laptop):
    with connected_directly(lab, laptop) as session:
        seen, pod = len(session.events), session.ready()["agent"]
        lab.kubectl("delete", "pod", pod, "-n", "default", "--wait=false")
        session.event("reconnected", after=seen, seconds=60)
        await_transport(laptop, "direct")
        works(lab, laptop)


def test_api_is_what_is_used_when_that_is_wanted(lab, laptop):
    with network.routed(lab.layout, PODS_V4), connected(laptop, "--transport=api"):
        works(lab, laptop)
        assert status(laptop)["transport"] == "api"
        assert agents_connections(laptop) == []


def test_direct_is_refused_where_the_agent_is_out_of_reach(lab, laptop):
    with starting(laptop, "--transport=direct") as session:
        error = session.error()
    assert error["exit_code"] == TEMPORARY
    assert "own address cannot be reached from here: this machine has no route" in error["summary"]
    assert "--transport direct" in error["hint"]
