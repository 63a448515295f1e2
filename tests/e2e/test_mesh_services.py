"""Services of other kinds than most, shared: with TLS, with affinity, with one family."""

from __future__ import annotations

import base64
import ssl
from typing import Any

import pytest

from lab.images import PYTHON_IMAGE
from tests.e2e import objects
from tests.e2e.applications import local_application
from tests.e2e.meshing import SERVED_SECONDS, asked, meshed, meshing
from tests.e2e.waiting import until
from tests.e2e.workloads import AFFINITY, HTTP, IPV6_ONLY, container, service, standing, workload
from tests.fakes.pki import Authority

pytestmark = pytest.mark.usefixtures("no_trace")

USAGE_ERROR = 2
ADA = "--match=header:x-user=ada"
SHARED, SECRET = "shared", "shared-tls"
TLS_PORT = 8443
# Ends TLS for the application in the same pod.
TERMINATOR = f"""
import asyncio, ssl
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain('/tls/tls.crt', '/tls/tls.key')
async def pump(source, target):
    while data := await source.read(65536):
        target.write(data)
    target.close()
async def serve(reader, writer):
    inward, outward = await asyncio.open_connection('127.0.0.1', 8080)
    await asyncio.gather(pump(reader, outward), pump(inward, writer))
async def main():
    server = await asyncio.start_server(serve, '0.0.0.0', {TLS_PORT}, ssl=context)
    await server.serve_forever()
asyncio.run(main())
"""


def secure_pods(secret: dict[str, Any]) -> list[dict[str, Any]]:
    """A workload that speaks TLS, its service, and the Secret with their certificate."""
    terminator = {
        "name": "tls",
        "image": PYTHON_IMAGE,
        "command": ["python3", "-c", TERMINATOR],
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
        "readinessProbe": {"tcpSocket": {"port": TLS_PORT}, "periodSeconds": 1},
    }
    pods = workload(
        "Deployment",
        SHARED,
        replicas=1,
        containers=[container(SHARED), terminator],
        volumes=[{"name": "tls", "secret": {"secretName": SECRET}}],
    )
    ports = [{"name": "https", "port": 443, "targetPort": TLS_PORT}]
    return [secret, pods, service(SHARED, ports=ports)]


def test_tls_ends_at_the_router_and_is_spoken_to_the_pods(lab, laptop, tmp_path):
    pair = Authority(tmp_path, "ca").issue("web", alternatives="DNS:web")
    context = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    files = {"tls.crt": pair.certificate, "tls.key": pair.key}
    data = {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET, "namespace": "default"},
        "data": data,
    }
    with standing(lab, *secure_pods(secret)), local_application(laptop, "here") as port:
        where = (SHARED, f"--expose={port}:443", ADA)
        (address, *_) = objects.addresses_of_service(lab, SHARED)
        with meshing(laptop, *where) as session:
            error = session.error()
            assert error["exit_code"] == USAGE_ERROR
            assert "TLS" in error["summary"]
            assert "--tls-secret" in error["hint"]
        with meshed(laptop, *where, f"--tls-secret={SECRET}"):

            def who(**headers: str) -> str:
                return asked(lab, address, 443, context=context, **headers).name

            until(lambda: who(x_user="ada") == "here", SERVED_SECONDS, "answers from here")
            answer = asked(lab, address, 443, context=context)
            assert answer.name == SHARED
            assert answer.body["headers"]["x-forwarded-proto"] == "https"


@pytest.mark.parametrize("kind", [AFFINITY, IPV6_ONLY], ids=["affinity", "IPv6 only"])
def test_service_keeps_its_ways(lab, laptop, kind):
    made = [workload("Deployment", SHARED), service(SHARED, **kind)]
    with standing(lab, *made), local_application(laptop, "here") as port:
        (address, *_) = objects.addresses_of_service(lab, SHARED)

        def pods(name: str, **headers: str) -> set[str]:
            answers = [asked(lab, address, **headers) for _ in range(20)]
            return {each.body["pod"] for each in answers if each.name == name}

        with meshed(laptop, SHARED, f"--expose={port}:{HTTP}", ADA):
            until(lambda: pods("here", x_user="ada"), SERVED_SECONDS, "answers from here")
            if kind is AFFINITY:
                assert len(pods(SHARED)) == 1
            else:
                until(lambda: len(pods(SHARED)) == 2, SERVED_SECONDS, "answers of both pods")
