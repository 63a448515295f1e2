"""The clients that the tests of the downlink put under load see each failure, and no other."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import pytest

from lab import namespaces
from tests.e2e import objects
from tests.e2e.applications import local_application
from tests.e2e.load import load
from tests.e2e.tow import connected

pytestmark = pytest.mark.usefixtures("no_trace")

REQUESTS = 500


@pytest.mark.parametrize("family", [4, 6])
def test_every_request_is_answered(lab, family):
    address = objects.addresses_of_service(lab, "web")[family == 6]
    with load(lab, address, 80) as under:
        under.await_count(REQUESTS)
    assert under.failures == []
    assert under.answers == {"web": under.count}


@pytest.mark.parametrize("family", [4, 6])
def test_every_datagram_is_answered_by_its_pod(lab, family):
    (pod,) = lab.kubectl_json("pods", "-l", "app=sample")["items"]
    name = pod["metadata"]["name"]
    address = objects.addresses_of_pod(lab, name)[family == 6]
    with load(lab, address, 7004, udp=True) as under:
        under.await_count(REQUESTS)
    assert under.failures == []
    assert under.answers == {name: under.count}


def test_refusals_and_resets_are_failures(lab):
    address = objects.addresses_of_service(lab, "sample")[0]
    for port in (7999, 7003):
        with load(lab, address, port) as under:
            under.await_count(10)
        assert len(under.failures) == under.count


def test_silence_is_a_failure(lab):
    address = objects.addresses_of_service(lab, "blackhole")[0]
    with load(lab, address, 80, patience_seconds=0.2) as under:
        under.await_count(10)
    assert {request.error for request in under.failures} == {"TimeoutError"}


def test_answer_that_is_cut_short_is_a_failure(lab):
    def listen():
        return socket.create_server(("127.0.0.1", 0))

    listening = namespaces.call_inside(lab.layout.node_net, listen)
    serving = threading.Thread(target=answer_in_part, args=(listening,), daemon=True)
    serving.start()
    with load(lab, "127.0.0.1", listening.getsockname()[1]) as under:
        under.await_count(10)
    listening.shutdown(socket.SHUT_RDWR)
    serving.join()
    assert all("no whole answer" in request.error for request in under.requests)


def answer_in_part(listening):
    with listening, suppress(OSError):
        while True:
            with listening.accept()[0] as client:
                client.recv(1 << 16)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")


def test_program_of_the_laptop_answers_by_its_name(lab, laptop):
    with local_application(laptop) as port:
        exposed = f"--expose={port}:80"
        with connected(laptop, "mine", exposed, command="preview") as session:
            address = session.ready()["addresses"][0]
            with load(lab, address, 80) as under:
                under.await_answer("here")
                under.await_more(REQUESTS)
                last = under.requests[-REQUESTS:]
    assert [request for request in last if request.answer != "here"] == []
