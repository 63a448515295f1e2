"""What the laptop reaches, and what a program sees that `lab exec` runs there."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import namespaces, network
from tests.lab.conftest import NAME
from tests.lab.places import FAMILIES, connection, datagram_answer, exactly, pods, service

COMMAND = str(Path(sys.executable).with_name("lab"))
GATEWAYS = {4: network.NODE_V4, 6: network.NODE_V6}


def lab_exec(*argv: str, place: str = "laptop") -> list[str]:
    return [COMMAND, "--name", NAME, "exec", place, "--", *argv]


def run(*argv: str, place: str = "laptop", **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        lab_exec(*argv, place=place),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        **options,
    )


@contextmanager
def route(lab, family, target):
    """A route on the laptop to an address by way of the node, as a rogue would set it."""
    words = [f"-{family}", "route"]
    done = lab.run_in_laptop(["ip", *words, "add", target, "via", GATEWAYS[family]])
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        lab.run_in_laptop(["ip", *words, "delete", target])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("what", ["pod", "service"])
def test_laptop_knows_no_way_into_the_cluster(lab, family, what):
    address = (pods(lab, "web")[0].addresses if what == "pod" else service(lab, "web"))[family]
    with (
        pytest.raises(OSError, match="unreachable"),
        connection(lab.layout.laptop_net, address, 80),
    ):
        pass


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("what", ["pod", "service"])
def test_node_forwards_nothing_for_the_laptop(lab, family, what):
    address, port = service(lab, "web")[family], 80
    if what == "pod":
        address, port = pods(lab, "web")[0].addresses[family], 8080
    with (
        route(lab, family, address),
        pytest.raises(TimeoutError),
        connection(lab.layout.laptop_net, address, port, seconds=2),
    ):
        pass


def test_laptop_does_not_reach_the_clusters_api_by_its_service(lab):
    address = service(lab, "kubernetes")[4]
    with (
        route(lab, 4, address),
        pytest.raises(TimeoutError),
        connection(lab.layout.laptop_net, address, 443, seconds=2),
    ):
        pass


def test_laptop_does_not_reach_the_nodes_other_ports(lab):
    with connection(lab.layout.node_net, network.NODE_V4, 10250):
        pass
    with (
        pytest.raises(TimeoutError),
        connection(lab.layout.laptop_net, network.NODE_V4, 10250, seconds=2),
    ):
        pass


def test_pods_do_not_reach_the_laptop(lab):
    (sample,) = pods(lab, "sample")

    def listen() -> socket.socket:
        return socket.create_server((network.LAPTOP_V4, 0))

    with namespaces.call_inside(lab.layout.laptop_net, listen) as server:
        port = server.getsockname()[1]
        with connection(lab.layout.laptop_net, network.LAPTOP_V4, port):
            pass
        assert sample.connect(network.LAPTOP_V4, port) == "timeout"


def test_laptop_has_the_cable_and_loopback_only(lab):
    def devices() -> set[str]:
        return {name for _, name in socket.if_nameindex()}

    assert namespaces.call_inside(lab.layout.laptop_net, devices) == {"eth0", "lo"}
    shown = lab.run_in_laptop(["ip", "-4", "route"]).stdout.split()
    assert shown[:3] == ["10.99.0.0/24", "dev", "eth0"]
    assert shown.count("dev") == 1


def test_exec_has_kubectl_and_the_administrators_kubeconfig(lab):
    done = run("sh", "-c", "kubectl auth whoami -o name; kubectl get nodes -o name")
    assert done.stdout.splitlines()[-1] == "node/node1"


def test_exec_runs_on_the_node_too(lab):
    page = run("curl", "-sS", f"http://{service(lab, 'web')[4]}", place="node")
    assert json.loads(page.stdout)["name"] == "web"
    done = run("sh", "-c", "kubectl get nodes -o name; exit 7", place="node")
    assert (done.stdout, done.returncode) == ("node/node1\n", 7)


def test_exec_leaves_the_developers_kubeconfig_alone(lab):
    environment = {**os.environ, "KUBECONFIG": "/nowhere"}
    assert run("printenv", "KUBECONFIG", env=environment).stdout.strip() == str(lab.kubeconfig())


def test_exec_passes_input_output_and_exit_code(lab):
    done = run("sh", "-c", "read line; echo out $line; echo err >&2; exit 7", input="it\n")
    assert (done.stdout, done.stderr, done.returncode) == ("out it\n", "err\n", 7)


def test_exec_becomes_the_program(lab):
    with subprocess.Popen(lab_exec("sh", "-c", "echo $$; exec sleep 60"), stdout=-1) as process:
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGUSR1)
        assert process.wait(10) == -signal.SIGUSR1


def test_exec_passes_the_terminal(lab):
    master, slave = pty.openpty()
    with subprocess.Popen(lab_exec("tty"), stdin=slave, stdout=slave) as process:
        assert process.wait(30) == 0
    assert os.read(master, 100).decode().strip() == os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_exec_says_when_there_is_no_such_program(lab):
    done = run("no-such-program")
    assert done.returncode != 0
    assert done.stderr == "no-such-program: No such file or directory.\n"


def test_laptop_has_its_own_resolv_conf(lab):
    machines = Path("/etc/resolv.conf").read_text()
    assert run("cat", "/etc/resolv.conf").stdout == f"nameserver {network.DNS_V4}\n"
    assert Path("/etc/resolv.conf").read_text() == machines


def test_laptop_resolves_by_the_worlds_dns_which_takes_note(lab):
    before = len(lab.dns_queries())
    assert run("getent", "ahostsv4", "outside.example").stdout.startswith("198.51.100.7 ")
    assert run("getent", "ahostsv6", "outside.example").stdout.startswith("2001:db8::7 ")
    assert run("getent", "hosts", "nothing.example").returncode == 2
    asked = [(query["name"], query["client"]) for query in lab.dns_queries()[before:]]
    assert ("outside.example", network.LAPTOP_V4) in asked
    assert ("nothing.example", network.LAPTOP_V4) in asked


@pytest.mark.parametrize("family", FAMILIES)
def test_worlds_dns_answers_on_both_families(lab, family):
    address = {4: network.DNS_V4, 6: network.DNS_V6}[family]
    query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + b"\7outside\7example\0" + b"\0\x01\0\x01"
    answer = datagram_answer(lab.layout.laptop_net, family, address, 53, query)
    assert answer[:2] == b"\x12\x34"
    assert socket.inet_aton("198.51.100.7") in answer
    with connection(lab.layout.laptop_net, address, 53) as opened:
        opened.sendall(len(query).to_bytes(2, "big") + query)
        assert exactly(opened, len(answer) + 2)[2:] == answer
