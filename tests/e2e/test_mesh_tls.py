"""A service that speaks TLS is shared when the router has its certificate, and else not."""

from __future__ import annotations

import base64
import json
import socket
import ssl

import pytest

from lab import namespaces
from lab.images import PYTHON_IMAGE
from tests.e2e import objects, workloads
from tests.e2e.applications import local_application
from tests.e2e.meshing import meshed, meshing
from tests.e2e.waiting import until
from tests.fakes.pki import Authority

USAGE_ERROR = 2
SERVED_SECONDS = 30
# HTTP over TLS, with the certificate of the Secret.
SERVER = """
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b'{"name": "secure"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
class Server(http.server.ThreadingHTTPServer):
    address_family = 10
server = Server(("::", 8443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""

pytestmark = pytest.mark.usefixtures("no_trace")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"), "authority")


def secure(authority):
    """A Secret, a pod that speaks TLS with it, and a service for that."""
    pair = authority.issue("secure", alternatives="DNS:secure")
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "secure", "namespace": "default"},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(file.read_bytes()).decode() for key, file in data.items()},
    }
    pod = workloads.pod("secure")
    pod["spec"] = {
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "tls", "secret": {"secretName": "secure"}}],
        "containers": [
            {
                "name": "server",
                "image": PYTHON_IMAGE,
                "command": ["python3", "-c", SERVER],
                "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
                "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
            }
        ],
    }
    service = workloads.service("secure")
    service["spec"]["ports"] = [{"name": "https", "port": 443, "targetPort": 8443}]
    return secret, pod, service


def name_of(lab, authority, address, *headers):
    """Who answers over TLS, as a client that trusts the authority alone; "" if nobody does."""
    context = ssl.create_default_context(cafile=str(authority.pair.certificate))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    request = "\r\n".join(["GET / HTTP/1.1", "Host: secure", "Connection: close", *headers])

    def inside():
        with socket.create_connection((address, 443), 10) as plain:
            with context.wrap_socket(plain, server_hostname="secure") as client:
                client.sendall(f"{request}\r\n\r\n".encode())
                return b"".join(iter(lambda: client.recv(1 << 16), b""))

    try:
        answer = namespaces.call_inside(lab.layout.node_net, inside)
        return json.loads(answer.partition(b"\r\n\r\n")[2])["name"]
    except (OSError, ValueError):
        return ""


def test_tls_is_ended_with_the_services_certificate_or_the_port_refused(lab, laptop, authority):
    with workloads.standing(lab, *secure(authority)), local_application(laptop, "here") as port:
        address = objects.addresses_of_service(lab, "secure")[0]
        where = ("secure", f"--expose={port}:443", "--match=header:x-user=ada")
        with meshing(laptop, *where) as session:
            error = session.error()
            assert error["exit_code"] == USAGE_ERROR
            assert "443 speaks TLS (name https)" in error["summary"]
            assert "--tls-secret" in error["hint"]
        assert name_of(lab, authority, address) == "secure"
        with meshed(laptop, *where, "--tls-secret=secure") as session:
            assert "https://secure.default/" in session.ready()["curl"]
            mine = "x-user: ada"
            until(
                lambda: name_of(lab, authority, address, mine) == "here", SERVED_SECONDS, "our own"
            )
            assert name_of(lab, authority, address) == "secure"
