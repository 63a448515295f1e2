"""What a client and a program of the laptop say to each other passes an exchange unchanged."""

from __future__ import annotations

import hashlib
import random
import socket
import threading

import pytest

from lab import namespaces
from tests.e2e import objects
from tests.e2e.answering import program
from tests.e2e.applications import local_application
from tests.e2e.exchanging import await_answerer, exchanged
from tests.e2e.waiting import until

pytestmark = pytest.mark.usefixtures("no_trace")

BLOCK = random.Random(4).randbytes(1 << 20)
BLOCKS = 200
SECONDS = 120
ROUNDS = 100


def client_of(lab, address, port=80):
    """A connection from the node."""

    def connect():
        return socket.create_connection((address, port), SECONDS)

    return namespaces.call_inside(lab.layout.node_net, connect)


@pytest.fixture
def web(lab, laptop):
    """The address of a service that a program of the laptop answers for: in capitals."""
    with program(laptop) as here, exchanged(laptop, "web", f"--expose={here.port}:80"):
        await_answerer(lab, "here")
        yield objects.addresses_of_service(lab, "web")[0]


def test_bulk_passes_both_ways_at_a_time_and_each_way_has_its_end(lab, web):
    wanted, found = hashlib.sha256(b"here"), hashlib.sha256()
    for _ in range(BLOCKS):
        wanted.update(BLOCK.upper())
    with client_of(lab, web) as client:
        sending = threading.Thread(target=send_all, args=(client,))
        sending.start()
        while piece := client.recv(1 << 18):
            found.update(piece)
        sending.join()
    assert found.digest() == wanted.digest()


def send_all(client):
    for _ in range(BLOCKS):
        client.sendall(BLOCK)
    client.shutdown(socket.SHUT_WR)


def test_conversation_goes_on_after_an_upgrade(lab, web):
    with client_of(lab, web) as client, client.makefile("rb") as answers:
        client.sendall(b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert answers.readline() == b"hereGET /CHAT HTTP/1.1\r\n"
        while answers.readline() != b"\r\n":
            pass
        for number in range(ROUNDS):
            client.sendall(b"\x81 frame %d\n" % number)
            assert answers.readline() == b"\x81 FRAME %d\n" % number


def test_reset_by_the_program_is_one_for_the_client(lab, laptop):
    address, _ = objects.addresses_of_service(lab, "web")
    with local_application(laptop), exchanged(laptop, "web", "--expose=7003:80"):
        until(lambda: is_reset(lab, address), 15, "a reset")


def is_reset(lab, address):
    try:
        with client_of(lab, address) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            client.recv(1)
    except ConnectionResetError:
        return True
    return False
