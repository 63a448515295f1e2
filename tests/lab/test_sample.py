"""The sample application, through its service and on both families."""

from __future__ import annotations

import json
import socket

import pytest

from tests.e2e.waiting import until
from tests.lab.places import (
    FAMILIES,
    connection,
    datagram_answer,
    exactly,
    http,
    pods,
    service,
)

ALL = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def sample(lab):
    return service(lab, "sample")


@pytest.fixture(scope="module")
def node(lab):
    return lab.layout.node_net


def rest_of(opened: socket.socket) -> bytes:
    return b"".join(iter(lambda: opened.recv(65536), b""))


@ALL
def test_http_says_who_answered_and_what_was_asked(node, sample, family):
    request = (
        b"POST /a?b=c HTTP/1.1\r\nHost: web\r\nX-One: 1\r\nX-One: 2\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    )
    answer = http(node, sample[family], 8080, request)
    assert (answer["name"], answer["version"]) == ("sample", "1")
    assert (answer["method"], answer["path"], answer["body_bytes"]) == ("POST", "/a?b=c", 19)
    assert answer["headers"]["host"] == "web"
    assert answer["headers"]["x-one"] == "1, 2"
    assert answer["pod"].startswith("sample-")


def test_http_keeps_the_connection_for_the_next_request(node, sample):
    request = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
    with connection(node, sample[4], 8080) as opened:
        opened.sendall(request % 1 + request % 2)
        opened.shutdown(socket.SHUT_WR)
        answers = rest_of(opened)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.index(b'"path": "/1"') < answers.index(b'"path": "/2"')


def test_http_refuses_what_is_not_http(node, sample):
    with connection(node, sample[4], 8080) as opened:
        opened.sendall(b"nonsense\r\n\r\n")
        assert rest_of(opened).startswith(b"HTTP/1.1 400 ")


@ALL
def test_echo_passes_half_close_and_counts(node, sample, family):
    payload = bytes(range(256)) * 400
    with connection(node, sample[family], 7000) as opened:
        opened.sendall(payload)
        opened.shutdown(socket.SHUT_WR)
        assert rest_of(opened) == payload + b"102400 bytes\n"


@ALL
def test_datagram_comes_back(node, sample, family):
    assert datagram_answer(node, family, sample[family], 7001, b"hello") == b"hello"


@ALL
def test_datagram_comes_back_with_the_pods_name(lab, node, family):
    pod = pods(lab, "sample")[0]
    answer = datagram_answer(node, family, pod.addresses[family], 7004, b"hello")
    assert answer == f"{pod.name} hello".encode()


@ALL
def test_second_http_port_says_that_it_is_another(lab, node, family):
    address = pods(lab, "sample")[0].addresses[family]
    assert [http(node, address, port)["port"] for port in (8080, 8081)] == [8080, 8081]


def test_probes_are_noted_down(lab, node):
    pod = pods(lab, "sample")[0]
    with connection(node, pod.addresses[4], 8081):
        pass
    gateway = "10.244.0.1"
    wanted = (
        {"probe": "http", "port": 8080, "path": "/", "client": gateway},
        {"probe": "tcp", "port": 8081, "path": "", "client": gateway},
    )

    def are_noted() -> bool:
        noted = [json.loads(line) for line in lab.kubectl("logs", pod.name).splitlines()]
        return all(each in noted for each in wanted)

    until(are_noted, 15, "the probes to be noted down")


@ALL
def test_sink_reports_what_it_got(node, sample, family):
    with connection(node, sample[family], 7002) as opened:
        opened.sendall(b"u" + bytes(1 << 20))
        opened.shutdown(socket.SHUT_WR)
        reports = rest_of(opened)
    assert len(reports) % 20 == 0
    assert int(reports[-20:]) == 1 << 20


@ALL
def test_source_sends_zeros(node, sample, family):
    with connection(node, sample[family], 7002) as opened:
        opened.sendall(b"d")
        assert exactly(opened, 1 << 22) == bytes(1 << 22)


@ALL
def test_latency_port_echoes(node, sample, family):
    with connection(node, sample[family], 7002) as opened:
        opened.sendall(b"e12")
        assert exactly(opened, 2) == b"12"
        opened.sendall(b"345")
        assert exactly(opened, 3) == b"345"


@ALL
def test_reset_port_resets(node, sample, family):
    with pytest.raises(ConnectionResetError), connection(node, sample[family], 7003) as opened:
        opened.recv(1)


@ALL
@pytest.mark.parametrize(
    ("name", "port", "outcome"),
    [
        ("sample", 8080, "connected"),
        ("sample", 7999, "ECONNREFUSED"),
        ("empty", 80, "ECONNREFUSED"),
        ("unreachable", 80, "EHOSTUNREACH"),
        ("blackhole", 80, "timeout"),
    ],
)
def test_connect_in_a_pod_ends_as_the_service_is_made_for(lab, family, name, port, outcome):
    pod = pods(lab, "web")[0]
    assert pod.connect(service(lab, name)[family], port) == outcome
