"""Ports of the laptop that lead to services, pods and hosts of the cluster."""

from __future__ import annotations

import json
import os
import socket
import subprocess

import pytest

from tests import documented
from tests.e2e import objects
from tests.e2e.broken import NAMESPACE, as_user
from tests.e2e.tow import GRACE, GRACE_SECONDS, connected, starting
from tests.e2e.waiting import until
from tests.e2e.workloads import pods_of, standing, workload

SESSION_ERROR = 8
USAGE_ERROR = 2
ACCESS_ERROR = 5

pytestmark = pytest.mark.usefixtures("no_trace")


def forwarding(laptop, *arguments):
    return starting(laptop, *arguments, command="forward")


def forwarded(laptop, *arguments):
    return connected(laptop, *arguments, command="forward")


def local(session, index=0):
    host, _, port = session.ready()["forwarded"][index]["local"].rpartition(":")
    return host.strip("[]"), int(port)


def says(laptop, where, words=b""):
    """What answers there, to the end, when the client has ended its half."""
    with laptop.connect_to(*where) as client:
        client.sendall(words)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := client.recv(1 << 16):
            answer += piece
        return answer


def is_reset(laptop, where):
    try:
        return not says(laptop, where)
    except ConnectionResetError:
        return True


def test_service_is_reached_as_in_a_pod(laptop):
    ports = ("0:8080", "0:7000", "0:7001/udp", "0:7003", "0:7999")
    with forwarded(laptop, "sample", *ports) as session:
        request = b"GET /by-hand HTTP/1.0\r\nHost: x\r\n\r\n"
        assert b'"path": "/by-hand"' in says(laptop, local(session, 0), request)
        words = b"abc" * (1 << 20)
        assert says(laptop, local(session, 1), words) == words + b"%d bytes\n" % len(words)
        with laptop.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            client.settimeout(10)
            client.sendto(b"ping", local(session, 2))
            assert client.recv(100) == b"ping"
        with pytest.raises(ConnectionResetError):
            says(laptop, local(session, 3))
        assert [each for each in session.events if each["event"] == "unreachable"] == []
        assert is_reset(laptop, local(session, 4))
        assert session.event("unreachable")["remote"] == 7999
        v6 = ("::1", local(session, 0)[1])
        assert b'"name": "sample"' in says(laptop, v6, request)


def test_host_is_reached_by_its_name_in_the_cluster_and_told_of_if_it_is_not(laptop):
    with forwarded(laptop, "web.other-ns:80", "0:80", "--address=127.0.0.1") as session:
        request = b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"
        assert b'"name": "other-web"' in says(laptop, local(session, 1), request)
    with forwarded(laptop, "nowhere.invalid", "0:80") as session:
        assert is_reset(laptop, local(session))
        assert "no address" in session.event("unreachable")["reason"]


def test_pods_are_followed_as_they_are_replaced(lab, laptop):
    with standing(lab, workload("Deployment", "followed", replicas=1)):
        with forwarded(laptop, "deploy/followed", "0:http", "0:name") as session:
            request = b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"
            (first,) = pods_of(lab, "followed")
            assert session.ready()["pod"] == first["metadata"]["name"]
            assert first["metadata"]["name"].encode() in says(laptop, local(session), request)
            lab.kubectl("delete", "pod", first["metadata"]["name"], "--wait=false")

            def moved():
                return [each["pod"] for each in session.events if each["event"] == "moved"][-1:]

            until(lambda: any(moved()), 60, "another pod")
            assert moved() != [first["metadata"]["name"]]
            assert moved()[0].encode() in says(laptop, local(session), request)
            lab.kubectl("scale", "deploy/followed", "--replicas=0")
            until(lambda: moved() == [""], 60, "no pod")
            assert is_reset(laptop, local(session))
            assert "no pod" in session.event("unreachable")["reason"]


def test_port_that_is_taken_is_told_with_who_has_it(laptop):
    with laptop.call(lambda: socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with forwarding(laptop, "sample", f"{port}:8080") as session:
            error = session.error()
            assert error["exit_code"] == SESSION_ERROR
            assert f"127.0.0.1:{port}" in error["summary"]
            assert f"(process {os.getpid()})" in error["summary"]


@pytest.mark.parametrize("arguments", [("sample", "9"), ("db.internal",), ("sample", "x:y:z")])
def test_what_cannot_be_meant_is_refused(laptop, arguments):
    with forwarding(laptop, *arguments) as session:
        assert session.error()["exit_code"] == USAGE_ERROR


def test_killed_session_leaves_nothing(laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with forwarding(laptop, "sample", "0:8080") as session:
        session.ready()
        session.process.kill()
        session.end()


def test_it_goes_on_in_the_background_where_others_find_it(laptop):
    done = laptop.run(laptop.tow, "forward", "sample", "0:8080", "--detach", GRACE)
    assert done.returncode == 0, done.stderr
    assert "'tow disconnect' ends it" in done.stdout
    (status,) = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
    assert (status["command"], status["target"]) == ("forward", "svc/sample")
    where = status["forwarded"][0]["local"]
    assert f"svc/sample: {where} → 8080" in laptop.run(laptop.tow, "status").stdout
    listed = json.loads(laptop.run(laptop.tow, "list", "-o", "json").stdout)
    assert [each["command"] for each in listed] == ["forward"]
    page: subprocess.CompletedProcess[str] = laptop.run("curl", "-sS", f"http://{where}/")
    assert json.loads(page.stdout)["name"] == "sample", page.stderr
    done = laptop.run(laptop.tow, "disconnect")
    assert done.returncode == 0, done.stderr


def test_documented_rights_are_enough_and_a_missing_one_is_named(lab, laptop):
    rules = documented.rules("forward")
    with objects.user(lab, "forwards-only", rules, NAMESPACE):
        who = as_user(lab, laptop, "forwards-only")
        for target in ("web", "deploy/web"):
            with forwarded(laptop, target, "0:http" if "/" in target else "0:80", *who) as session:
                request = b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"
                assert b'"name": "team-web"' in says(laptop, local(session), request)
    with objects.user(lab, "forwards-not", rules[1:], NAMESPACE):
        who = as_user(lab, laptop, "forwards-not")
        with forwarding(laptop, "web", "0:80", *who) as session:
            error = session.error()
            assert error["exit_code"] == ACCESS_ERROR
            assert "jobs" in error["summary"]
