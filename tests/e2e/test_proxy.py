"""A proxy on the laptop: programs without root reach the cluster by it."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from contextlib import closing

import pytest

from tests import documented
from tests.e2e import behind, objects
from tests.e2e.broken import NAMESPACE, as_user
from tests.e2e.tow import GRACE, GRACE_SECONDS, connected, starting

SESSION_ERROR = 8
# curl's own exit code: the proxy has said why not.
REFUSED_BY_PROXY = 97
DATABASE_V4 = "172.31.77.7"
ASSOCIATION = b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6)

pytestmark = pytest.mark.usefixtures("no_trace")


def proxying(laptop, *arguments):
    return starting(laptop, "--listen=127.0.0.1:0", *arguments, command="proxy")


def proxied(laptop, *arguments):
    return connected(laptop, "--listen=127.0.0.1:0", *arguments, command="proxy")


def curl(laptop, session, url, kind="socks5h", *more):
    """What curl gets by the proxy, with its exit code."""
    proxy = f"{kind}://{session.ready()['listening']}"
    words = ("curl", "-sS", "--max-time", "20", "--proxy", proxy, *more, url)
    return laptop.run(*words)


def name(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["name"]


def test_curl_reaches_services_by_all_their_names_and_the_world_from_here(lab, laptop):
    addresses = lab.kubectl_json("service", "web")["spec"]["clusterIPs"]
    with proxied(laptop) as session:
        for kind in ("socks5h", "socks4a", "http"):
            assert name(curl(laptop, session, "http://web", kind)) == "web"
            assert name(curl(laptop, session, "http://web.other-ns", kind)) == "other-web"
            full = "http://web.team-a.svc.cluster.local"
            assert name(curl(laptop, session, full, kind)) == "team-web"
        for address in addresses:
            host = f"[{address}]" if ":" in address else address
            assert name(curl(laptop, session, f"http://{host}")) == "web"
        with laptop.call(lambda: socket.create_server(("127.0.0.1", 0))) as here:
            here.settimeout(20)
            port = here.getsockname()[1]
            curl(laptop, session, f"http://127.0.0.1:{port}", "http", "--max-time", "1")
            connection, _ = here.accept()
            connection.close()


def test_what_is_refused_is_told_in_the_proxys_words(laptop):
    with proxied(laptop) as session:
        done = curl(laptop, session, "http://sample:7999")
        assert done.returncode == REFUSED_BY_PROXY
        assert "(5)" in done.stderr
        done = curl(laptop, session, "http://nothing.default.svc")
        assert "(4)" in done.stderr
        done = curl(laptop, session, "http://sample:7999", "http", "-i")
        assert "502 Bad Gateway" in done.stdout
        assert "refused" in done.stdout
        done = curl(laptop, session, "http://web", "http", "--proxytunnel")
        assert name(done) == "web"
        words = "x" * 100_000
        more = ("-H", "Transfer-Encoding: chunked", "-d", words)
        done = curl(laptop, session, "http://sample:8080/", "http", *more)
        assert json.loads(done.stdout)["body_bytes"] == len(words)


def test_python_tunnels_and_datagrams_are_carried(laptop):
    with proxied(laptop) as session:
        host, _, port = session.ready()["listening"].rpartition(":")

        def tunnel():
            made = http.client.HTTPConnection(host, int(port), timeout=20)
            with closing(made) as client:
                client.set_tunnel("web.other-ns", 80)
                client.request("GET", "/")
                return json.load(client.getresponse())["name"]

        assert laptop.call(tunnel) == "other-web"
        with laptop.connect_to(host, int(port)) as control:
            control.sendall(ASSOCIATION)
            words = b""
            while len(words) < 12:
                words += control.recv(100)
            (relay,) = struct.unpack("!H", words[-2:])
            with laptop.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
                client.settimeout(20)
                to = b"\x03\x06sample" + struct.pack("!H", 7001)
                client.sendto(b"\0\0\0" + to + b"ping", ("127.0.0.1", relay))
                assert client.recv(100).endswith(b"ping")


def test_requests_follow_each_other_on_one_connection(laptop):
    with proxied(laptop) as session:
        host, _, port = session.ready()["listening"].rpartition(":")

        def ask():
            with closing(http.client.HTTPConnection(host, int(port), timeout=20)) as client:
                client.connect()
                client.auto_open = 0  # a second one would be an error
                for url in ("http://web/", "http://web.other-ns/", "http://sample:8080/"):
                    client.request("POST", url, b"x" * 1000)
                    yield json.load(client.getresponse())["name"]

        assert laptop.call(lambda: list(ask())) == ["web", "other-web", "sample"]


def test_go_takes_the_proxy_of_its_environment(lab, laptop):
    kubectl = lab.layout.programs / "kubectl"
    server = "--server=https://kubernetes.default.svc"
    with proxied(laptop) as session:
        for kind in ("http", "socks5"):
            environment = laptop.environment(HTTPS_PROXY=f"{kind}://{session.ready()['listening']}")
            done = laptop.run(kubectl, server, "get", "--raw=/version", env=environment)
            assert done.returncode == 0, done.stderr
            assert "gitVersion" in done.stdout


def test_what_is_included_is_reached_there_and_what_is_excluded_is_not(lab, laptop):
    web = lab.kubectl_json("service", "web")["spec"]["clusterIP"]
    arguments = (f"--include={DATABASE_V4}", f"--exclude={web},web.other-ns")
    with behind.serving(lab, DATABASE_V4), proxied(laptop, *arguments) as session:
        database = curl(laptop, session, f"telnet://{DATABASE_V4}:{behind.PORT}")
        assert database.stdout == behind.HELLO.decode()
        assert name(curl(laptop, session, "http://web")) == "web"
        for excluded in (web, "web.other-ns"):
            done = curl(laptop, session, f"http://{excluded}", "socks5h", "--max-time", "3")
            assert done.returncode != 0


def test_other_machines_are_told_where_the_proxy_is(lab, laptop):
    with starting(laptop, "--listen=0.0.0.0:0", command="proxy") as session:
        ready = session.ready()
        addresses = [each.rpartition(":")[0] for each in ready["addresses"]]
        assert addresses
        assert not {"0.0.0.0", "127.0.0.1"} & {*addresses}
        assert ready["environment"]["HTTP_PROXY"] == f"http://{ready['addresses'][0]}"
        done = laptop.run(
            "curl", "-sS", "--proxy", ready["environment"]["HTTP_PROXY"], "http://web"
        )
        assert name(done) == "web"


def test_shell_has_the_environment_and_the_session_goes_on(laptop):
    script = f"""
        eval "$({laptop.tow} proxy --detach --listen 127.0.0.1:0 {GRACE})"
        curl -sS --max-time 20 http://web
        {laptop.tow} status
        {laptop.tow} list
        {laptop.tow} disconnect
    """
    done = laptop.run("bash", "-ec", script)
    assert done.returncode == 0, done.stderr
    assert '"name": "web"' in done.stdout
    assert "the cluster by 127.0.0.1:" in done.stdout
    assert "  proxy  " in done.stdout


def test_port_that_is_taken_is_told(laptop):
    with laptop.call(lambda: socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with starting(laptop, f"--listen={port}", command="proxy") as session:
            error = session.error()
            assert error["exit_code"] == SESSION_ERROR
            assert f"127.0.0.1:{port}" in error["summary"]


def test_killed_session_leaves_nothing(laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with proxying(laptop) as session:
        session.ready()
        session.process.kill()
        session.end()


def test_documented_rights_are_enough(lab, laptop):
    with objects.user(lab, "proxies-only", documented.rules("proxy"), NAMESPACE):
        who = as_user(lab, laptop, "proxies-only")
        with proxied(laptop, *who) as session:
            assert name(curl(laptop, session, "http://web")) == "team-web"
