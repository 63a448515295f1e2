"""What comes to a pod's ports from outside is the agent's; what the pod itself does is not."""

from __future__ import annotations

import errno
import select
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager, nullcontext
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.netns import machine, pods
from tests.netns.pods import NODE4, NODE6, OTHER4, OTHER6, POD4, POD6
from towline.agent.redirect import Redirect, Redirection
from towline.wire.target import Port, Protocol

pytestmark = pytest.mark.usefixtures("traceless")

PORT, OTHER_PORT, UDP_PORT = 8080, 8081, 5300
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
ALL = [(POD4, TCP), (POD6, TCP), (POD4, UDP), (POD6, UDP)]
NAME = "towline-61000"
# After so long the kernel has given up what it needs no more.
KERNEL_SECONDS = 0.5
_HOLDER = Path(__file__).with_name("pod_redirect.py")


class Scene:
    """A pod whose program serves three ports, beside the agent's two listeners."""

    def __init__(self, stack, pod):
        self.pod = pod
        self.program = {
            PORT: stack.enter_context(pod.listen(PORT)),
            OTHER_PORT: stack.enter_context(pod.listen(OTHER_PORT)),
            UDP_PORT: stack.enter_context(pod.listen(UDP_PORT, UDP)),
        }
        self.agent = {
            TCP: stack.enter_context(pod.listen()),
            UDP: stack.enter_context(pod.listen(kind=UDP)),
        }

    def listener(self, kind=TCP):
        return self.agent[kind].getsockname()[1]

    @contextmanager
    def redirected(self, *exempt, behind=()):
        sources = tuple(map(ip_address, exempt))
        redirections = [
            Redirection(Port(PORT), self.listener(), sources),
            Redirection(Port(UDP_PORT, Protocol.UDP), self.listener(UDP), sources),
        ]
        with self.pod.inside():
            redirect = Redirect(NAME, redirections, tuple(map(ip_address, behind)))
        try:
            yield redirect
        finally:
            redirect.close()

    def who_gets(self, host, kind=TCP, port=0, source="", source_port=0, inside=False):
        """Speak to the pod from its node, or from inside: `program` or `agent` hears of it."""
        port = port or (PORT if kind == TCP else UDP_PORT)
        with self.pod.inside() if inside else nullcontext():
            client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        with client:
            client.settimeout(10)
            if source:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                client.bind((source, source_port))
            client.connect((host, port))
            return self.hears(client, kind, port)

    def hears(self, client, kind, port):
        client.send(b"?")
        names = {self.program[port]: "program", self.agent[kind]: "agent"}
        (listener,), *_ = select.select(names, [], [], 10)
        self._answer(listener, kind)
        assert client.recv(10) == b"!"
        return names[listener]

    @contextmanager
    def connection(self, host, listener):
        """A connection to the pod's port, and the end of it that the listener has."""
        with socket.create_connection((host, PORT), 10) as client, listener.accept()[0] as other:
            other.settimeout(10)
            yield client, other

    def _answer(self, listener, kind):
        if kind == UDP:
            _, peer = listener.recvfrom(10)
            listener.sendto(b"!", peer)
            return
        with listener.accept()[0] as connection:
            connection.sendall(b"!")


@pytest.fixture
def scene(_namespace):
    with ExitStack() as stack:
        yield Scene(stack, stack.enter_context(pods.running()))


@pytest.mark.parametrize(("host", "kind"), ALL)
def test_what_comes_from_outside_is_the_agents_until_the_end(scene, host, kind):
    assert scene.who_gets(host, kind) == "program"
    with scene.redirected():
        assert scene.who_gets(host, kind) == "agent"
    assert scene.who_gets(host, kind) == "program"


@pytest.mark.parametrize(("host", "kind"), ALL)
def test_the_pod_itself_reaches_its_program_by_its_own_address(scene, host, kind):
    with scene.redirected():
        assert scene.who_gets(host, kind, inside=True) == "program"


@pytest.fixture
def sidecar(scene):
    """Where one listens for what comes from outside by TCP, but for one port, as Istio has it."""
    rule = f"meta l4proto tcp tcp dport != {OTHER_PORT} redirect to :15006"
    chain = "type nat hook prerouting priority -100;"
    with scene.pod.inside():
        machine.run("ip -6 address add ::6/128 dev lo nodad")
        machine.run(f"nft 'table inet mesh {{ chain in {{ {chain} {rule}; }}; }}'")
    with scene.pod.listen(15006) as listening:
        yield listening


@pytest.mark.parametrize(("host", "source"), [(POD4, "127.0.0.6"), (POD6, "::6")])
def test_sidecar_has_first_what_comes_and_the_agent_what_it_passes_on(scene, sidecar, host, source):
    def passed_on():
        return scene.who_gets(host, source=source, inside=True)

    with scene.redirected(behind=("127.0.0.6", "::6")) as redirect:
        with scene.connection(host, sidecar):
            pass
        assert passed_on() == "agent"
        assert scene.who_gets(host, inside=True) == "program"
        assert scene.who_gets(host, UDP) == "agent"
        assert scene.who_gets(host, port=OTHER_PORT) == "program"
        redirect.stop()
        assert passed_on() == "program"
    assert passed_on() == "program"


def test_what_a_sidecar_leaves_alone_is_the_agents(scene, sidecar):
    redirection = Redirection(Port(OTHER_PORT), scene.listener())
    with scene.pod.inside():
        redirect = Redirect(NAME, [redirection], (ip_address("127.0.0.6"),))
    with closing(redirect):
        assert scene.who_gets(POD4, port=OTHER_PORT) == "agent"


@pytest.mark.parametrize("host", [POD4, POD6])
def test_other_ports_are_left_alone(scene, host):
    with scene.redirected():
        assert scene.who_gets(host, port=OTHER_PORT) == "program"


@pytest.mark.parametrize("kind", [TCP, UDP])
@pytest.mark.parametrize(
    ("host", "exempt", "other"), [(POD4, NODE4, OTHER4), (POD6, NODE6, OTHER6)]
)
def test_only_exempt_sources_go_past(scene, host, exempt, other, kind):
    with scene.redirected(NODE4, NODE6):
        assert scene.who_gets(host, kind, source=exempt) == "program"
        assert scene.who_gets(host, kind, source=other) == "agent"


@pytest.mark.parametrize("host", [POD4, POD6])
def test_connections_from_before_stay_with_the_program(scene, host):
    with scene.connection(host, scene.program[PORT]) as both:
        for _ in range(2):
            with scene.redirected():
                exchange(*both)
            exchange(*both)


@pytest.mark.parametrize("host", [POD4, POD6])
def test_connections_of_the_agent_last_after_the_redirect_has_stopped(scene, host):
    with scene.redirected() as redirect, scene.connection(host, scene.agent[TCP]) as both:
        redirect.stop()
        redirect.stop()
        assert scene.who_gets(host) == "program"
        end = time.monotonic() + KERNEL_SECONDS
        while time.monotonic() < end:
            exchange(*both)


@pytest.mark.parametrize("host", [POD4, POD6])
def test_client_that_uses_a_port_again_comes_to_the_new_agent(scene, host):
    with _start(scene) as holder:
        assert holder.stdout.readline() == "ready\n"
        with scene.connection(host, scene.agent[TCP]) as (client, _):
            holder.kill()
            holder.wait()
            address = client.getsockname()
    scene.agent[TCP].close()
    with scene.pod.listen() as scene.agent[TCP], scene.redirected():
        assert scene.who_gets(host, source=address[0], source_port=address[1]) == "agent"


def exchange(client, other):
    """What either end says comes to the other one."""
    client.sendall(b"ping")
    assert other.recv(10) == b"ping"
    other.sendall(b"pong")
    assert client.recv(10) == b"pong"


@pytest.mark.parametrize("host", [POD4, POD6])
def test_udp_clients_go_on_with_the_program_afterwards(scene, host):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, UDP) as client:
        client.settimeout(10)
        client.connect((host, UDP_PORT))
        with scene.redirected():
            assert scene.hears(client, UDP, UDP_PORT) == "agent"
        assert scene.hears(client, UDP, UDP_PORT) == "program"


def test_two_agents_of_one_pod_have_different_ports(scene):
    with scene.redirected(), scene.pod.inside():
        second = Redirect("towline-61001", [Redirection(Port(OTHER_PORT), scene.listener())])
    assert scene.who_gets(POD4, port=OTHER_PORT) == "agent"
    second.close()
    assert scene.who_gets(POD4, port=OTHER_PORT) == "program"


def test_redirect_works_in_a_pod_without_ipv6(scene):
    with scene.pod.inside():
        machine.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    with scene.redirected():
        assert scene.who_gets(POD4) == "agent"


def _start(scene, *prefix):
    command = [*prefix, sys.executable, str(_HOLDER), str(PORT), str(scene.listener())]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with scene.pod.inside():
        return subprocess.Popen(command, text=True, **pipes)


def test_nothing_is_left_of_a_killed_redirect(scene):
    with scene.pod.inside():
        before = machine.run("nft list ruleset")
    with _start(scene) as holder:
        assert holder.stdout.readline() == "ready\n"
        assert scene.who_gets(POD4) == "agent"
        holder.kill()
    assert scene.who_gets(POD4) == "program"
    with scene.pod.inside():
        assert machine.run("nft list ruleset") == before


def test_who_lacks_the_capability_is_told_so(scene):
    with _start(scene, "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin") as holder:
        _, complaint = holder.communicate(timeout=30)
    assert complaint.startswith(
        f"[Errno {errno.EPERM}] the redirect needs the capability NET_ADMIN"
    )
    assert complaint.count("\n") == 1


def test_kernel_that_refuses_leaves_nothing(scene):
    with scene.pod.inside():
        machine.run(f"nft add table inet {NAME}")
        before = machine.run("nft list ruleset")
        with pytest.raises(FileExistsError, match="the kernel refused the redirect"):
            Redirect(NAME, [Redirection(Port(PORT), scene.listener())])
        assert machine.run("nft list ruleset") == before
