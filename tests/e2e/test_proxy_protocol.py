"""Programs of the laptop are told who their clients in the cluster are."""

from __future__ import annotations

import ipaddress
import struct
from contextlib import suppress

import pytest

from lab.errors import LabError
from tests.e2e import objects
from tests.e2e.listening import Listener, listener
from tests.e2e.tow import connected
from tests.e2e.waiting import until
from towline.features.downlink.selector import REMEMBERED_SECONDS

# Until kube-proxy has heard where a service leads.
LED_SECONDS = 15
HEARD_SECONDS = 20
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# From an address and port that it tells.
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as client:
    print(*client.getsockname()[:2])
    client.sendall(b"hello")
    client.shutdown(socket.SHUT_WR)
    while client.recv(65536):
        pass
"""

pytestmark = pytest.mark.usefixtures("no_trace")


def read(said: bytes) -> tuple[tuple[str, int], tuple[str, int], bytes]:
    """Client, server and what follows the header, as HAProxy's specification has it."""
    assert said[:13] == SIGNATURE + b"\x21", said[:16]
    family, length = struct.unpack("!BH", said[13:16])
    size = {0x11: 4, 0x21: 16}[family]
    told, rest = said[16 : 16 + length], said[16 + length :]
    ports = struct.unpack("!HH", told[2 * size :])
    hosts = [str(ipaddress.ip_address(told[at : at + size])) for at in (0, size)]
    return (hosts[0], ports[0]), (hosts[1], ports[1]), rest


def ask_from_pod(lab, pod: str, address: str, port: int) -> tuple[str, int]:
    """Ask as a pod; gives its own address and port."""
    host, number = lab.kubectl("exec", pod, "--", "python3", "-c", ASK, address, str(port)).split()
    return host, int(number)


def pod_of(lab, app: str) -> str:
    (found,) = lab.kubectl_json("pods", "-l", f"app={app}")["items"]
    return found["metadata"]["name"]


def next_told(here: Listener) -> bytes:
    """What the next client said; whoever looked whether something listens said nothing."""
    while not (said := here.heard.get(timeout=HEARD_SECONDS)):
        pass
    return said


def assert_told_of_pod(lab, here: Listener, pod: str, address: str, server: tuple[str, int]):
    """Once the address leads here, its clients are told, with the server that they meant."""

    def ask() -> tuple[str, int] | None:
        with suppress(LabError):
            asked = ask_from_pod(lab, pod, address, server[1])
            return asked if here.came.is_set() else None
        return None

    here.came.clear()
    client = until(ask, LED_SECONDS, "the address to lead here")
    while (told := read(next_told(here)))[0] != client:
        pass
    assert told == (client, server, b"hello")
    assert client[0] in objects.addresses_of_pod(lab, pod)


def test_exchange_tells_the_pods_own_address_over_both_families(lab, laptop):
    pod = pod_of(lab, "sample")
    with listener(laptop) as here:
        arguments = ("web", f"--expose={here.port}:80", "--proxy-protocol")
        with connected(laptop, *arguments, command="exchange"):
            for address in objects.addresses_of_service(lab, "web"):
                assert_told_of_pod(lab, here, pod, address, (address, 80))


def test_server_of_a_headless_service_is_the_pod_that_was_reached(lab, laptop, no_trace):
    # Its agent stays for those who have looked the address up.
    no_trace.cluster_seconds += REMEMBERED_SECONDS
    pod = pod_of(lab, "sample")
    with listener(laptop) as here:
        arguments = ("db", f"--expose={here.port}:echo", "--proxy-protocol")
        with connected(laptop, *arguments, command="exchange") as session:
            for address in objects.addresses_of_pod(lab, session.ready()["agent"]):
                assert_told_of_pod(lab, here, pod, address, (address, 7000))


def test_preview_tells_it_too(lab, laptop):
    pod = pod_of(lab, "sample")
    with listener(laptop) as here:
        arguments = ("mine", f"--expose={here.port}:8000", "--proxy-protocol")
        with connected(laptop, *arguments, command="preview") as session:
            for address in session.ready()["addresses"]:
                assert_told_of_pod(lab, here, pod, address, (address, 8000))
