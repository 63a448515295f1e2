"""UDP and ping through a session are as those of a pod."""

from __future__ import annotations

import errno
import json
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import dns.message
import dns.query
import pytest

from lab import settings
from tests.e2e import objects, quic
from tests.e2e.tow import connected
from tests.fakes.pki import Authority

UDP_ECHO, CLOSED = 7001, 7999
SECONDS = 15
FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
LONGEST = {socket.AF_INET: 65507, socket.AF_INET6: 65487}

# What a socket in a pod hears of a port: the number of the error, or 0.
IN_A_POD = """
import socket, sys
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(15)
client.connect((sys.argv[1], int(sys.argv[2])))
client.send(b"anyone?")
try:
    client.recv(100)
except OSError as error:
    print(error.errno)
else:
    print(0)
"""


@pytest.fixture(scope="module", autouse=True)
def session(laptop, no_trace_of_module):
    with connected(laptop, "-n", "default") as running:
        yield running


def program(laptop, host, port, family):
    """A connected UDP socket of the laptop."""

    def inside():
        client = socket.socket(family, socket.SOCK_DGRAM)
        client.settimeout(SECONDS)
        client.connect((host, port))
        return client

    return laptop.call(inside)


def pod_of_sample(lab):
    pods = lab.kubectl_json("pods", "-n", "default", "-l", "app=sample")["items"]
    return objects.addresses_of_pod(lab, pods[0]["metadata"]["name"])


@FAMILIES
def test_service_answers_datagrams_of_every_size(lab, laptop, family):
    host = objects.addresses_of_service(lab, "sample")[family == socket.AF_INET6]
    with program(laptop, host, UDP_ECHO, family) as client:
        for size in (1, 1472, 9000, LONGEST[family]):
            said = bytes(range(256)) * (size // 256) + bytes(size % 256)
            client.send(said)
            assert client.recv(1 << 16) == said


def test_program_asks_by_name(laptop):
    script = (
        "import socket; c = socket.socket(type=socket.SOCK_DGRAM); c.settimeout(15);"
        f"c.sendto(b'hello', ('sample', {UDP_ECHO})); print(c.recv(100))"
    )
    assert laptop.run(sys.executable, "-c", script).stdout == "b'hello'\n"


@FAMILIES
def test_closed_port_refuses_as_it_refuses_a_pod(lab, laptop, family):
    host = pod_of_sample(lab)[family == socket.AF_INET6]
    argv = ("exec", "deploy/sample", "--", "python3", "-c", IN_A_POD, host, str(CLOSED))
    assert int(lab.kubectl(*argv)) == errno.ECONNREFUSED
    with program(laptop, host, CLOSED, family) as client:
        for _ in range(3):
            client.send(b"anyone?")
            with pytest.raises(ConnectionRefusedError):
                client.recv(100)


def test_clusters_resolver_can_be_asked_past_ours(lab, laptop):
    query = dns.message.make_query("web.default.svc.cluster.local", "A")
    answer = laptop.call(lambda: dns.query.udp(query, settings.CLUSTER_DNS, timeout=SECONDS))
    assert answer.answer[0][0].address == objects.addresses_of_service(lab, "web")[0]


def ping(laptop, host, wait=10):
    return laptop.run("ping", "-n", "-c1", f"-W{wait}", host).stdout


def test_ping_hears_who_answers_the_agent(lab, laptop):
    for host in pod_of_sample(lab):
        assert "1 received" in ping(laptop, host)


def test_ping_hears_what_the_agent_hears_of_a_service(lab, laptop):
    """kube-proxy refuses what is no port of a service; or else nobody answers."""
    for host in objects.addresses_of_service(lab, "sample"):
        said = ping(laptop, host, wait=1)
        assert "0 received" in said


@pytest.mark.parametrize("host", [settings.NOBODY_V4, settings.NOBODY_V6])
def test_ping_of_an_address_without_a_pod_is_not_answered(laptop, host):
    """The node learns within some 3 s that nobody has it, and says so."""
    said = ping(laptop, host)
    assert "0 received" in said
    assert re.search(r"Destination.* (Host|Address) [uU]nreachable", said)


def test_ping_is_not_answered_where_the_agent_may_not_ask_and_that_is_said(lab, laptop):
    """The newest session gets it, whose pod has a sysctl that lets nobody send echoes."""
    nobody = {"name": "net.ipv4.ping_group_range", "value": "1 0"}
    patch = {"spec": {"securityContext": {"sysctls": [nobody]}}}
    file = laptop.input("no-echoes.json", json.dumps(patch))
    with connected(laptop, "-n", "other-ns", "--pod-patch", file) as refused:
        for host in pod_of_sample(lab):
            assert "0 received" in ping(laptop, host, wait=1)
        assert "ping gets no answer" in refused.event("note")["what"]
        assert "; the agent may not ping" in laptop.run(laptop.tow, "status").stdout


@contextmanager
def quic_server(lab, host, folder):
    """A QUIC server on the node; gives its port, and the authority to trust."""
    authority = Authority(folder, "authority")
    pair = authority.issue("quic", alternatives=f"IP:{host}")
    argv = [sys.executable, quic.__file__, "server", host, str(pair.certificate), str(pair.key)]
    process = lab.popen_in_node(argv, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline()), authority.pair.certificate
    finally:
        process.kill()
        process.communicate()


@FAMILIES
def test_quic_client_works(lab, laptop, family):
    """To the node's own address within the pods' range."""
    ranges = lab.kubectl_json("node", settings.NODE_NAME)["spec"]["podCIDRs"]
    host = str(ip_network(objects.by_family(ranges)[family == socket.AF_INET6])[1])
    folder = Path(laptop.inputs / f"quic-{family.name}")
    folder.mkdir()
    with quic_server(lab, host, folder) as (port, authority):
        argv = [sys.executable, quic.__file__, "client", host, str(port), str(authority)]
        done = laptop.run(*argv, "4", str(64 * 1024))
        assert (done.stdout, done.stderr) == ("whole\n", "")
