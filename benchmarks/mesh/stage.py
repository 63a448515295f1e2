"""What is meshed, what stands beside it, and the program of the laptop that answers instead."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import ways
from benchmarks.ground import NAMESPACE, Ground
from benchmarks.routers import peers
from benchmarks.routers.asking import Way
from lab import images, programs, rootfs
from lab.images import Image
from tests.e2e import objects
from tests.e2e.meshing import asked
from tests.e2e.objects import Object
from tests.e2e.waiting import until
from tests.e2e.workloads import standing

IMAGE = "localhost/towline/benchmark:1"
ORIGIN, MESHED, NGINX = "benchmark-origin", "benchmark-meshed", "benchmark-nginx"
"""The original pods' service; another one of theirs, which is meshed; nginx before the first."""

HERE = "here"
"""The name of the laptop's program."""

PORT = 8080
LOCAL_PORT = 9080
NGINX_PORTS = {"h1": 8080, "h2": 8081, "grpc": 8082}
HEADER = "x-tow"

_SECONDS = 30.0
_PASSING = (
    "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $http_host; "
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_buffering off;"
)


@dataclass(frozen=True, slots=True)
class Stage:
    """The ground, with services on it: their addresses."""

    ground: Ground
    origin: str
    meshed: str
    nginx: str

    def way(self, name: str, protocol: str, who: str) -> Way:
        """How h2load asks by one of the ways; `who` is whose requests the matched ones are."""
        address, port = {
            "direct": (self.origin, PORT),
            "nginx": (self.nginx, NGINX_PORTS[protocol]),
        }.get(name, (self.meshed, PORT))
        headers = (f"{HEADER}: {who}",) if name == "matched" else ()
        return Way(port, protocol, address, headers, self.ground.lab.popen_in_node)

    def meshing(self, rtt: int, who: str) -> AbstractContextManager[ways.Session]:
        """A participant whose requests have that name in a header."""
        match, expose = f"--match=header:{HEADER}={who}", f"--expose={LOCAL_PORT}:{PORT}"
        router = f"--router-image={images.ROUTER_IMAGE}"
        return ways.session(self.ground, rtt, "mesh", MESHED, match, expose, router)

    def who_answers(self, who: str) -> str:
        """The name of the one who answers a request with that name in its header."""
        # Said although it is the default: by its type the header might be meant for that.
        return asked(self.ground.lab, self.meshed, PORT, context=None, **{HEADER: who}).name

    def await_put_back(self) -> None:
        """Wait until nothing of a session is left."""

        def is_left() -> bool:
            service = self.ground.lab.kubectl_json("service", MESHED, "-n", NAMESPACE)
            return "towline/agent" in service["spec"]["selector"] or bool(
                objects.agents(self.ground.lab)
            )

        until(lambda: not is_left(), _SECONDS * 2, "the mesh to leave nothing")


@contextmanager
def staged(ground: Ground) -> Iterator[Stage]:
    """The services and all that answers for them, as long as the context lasts."""
    peers.ensure()
    programs.ensure_built([programs.ORIGIN])
    images.load(ground.lab.layout, images.archive_of("benchmark-images", _IMAGES, _digest()))
    made = [
        _deployment(ORIGIN, ["origin", str(PORT)], [PORT]),
        _service(ORIGIN, ORIGIN, [PORT]),
        _service(MESHED, ORIGIN, [PORT]),
    ]
    with standing(ground.lab, *made), _program(ground):
        before = _address(ground, ORIGIN)
        proxy = [
            _deployment(NGINX, _nginx(before), list(NGINX_PORTS.values())),
            _service(NGINX, NGINX, list(NGINX_PORTS.values())),
        ]
        with standing(ground.lab, *proxy):
            yield Stage(ground, before, _address(ground, MESHED), _address(ground, NGINX))


def _layer(archive: tarfile.TarFile) -> None:
    nginx = Path(peers.program("nginx"))
    rootfs.system_layer(archive, modules=[nginx])
    rootfs.add_program(archive, nginx, "usr/local/bin/nginx")
    rootfs.add_program(archive, programs.ORIGIN.built, "usr/local/bin/origin")


_IMAGES = (Image(IMAGE, (_layer,), ("origin", str(PORT))),)


def _digest() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(str(programs.ORIGIN.built).encode())
    return digest.hexdigest()[:16]


def _nginx(origin: str) -> list[str]:
    """The command of a proxy that passes on to an address."""
    ways = {
        f"{NGINX_PORTS['h1']}": f"proxy_pass http://origin; {_PASSING}",
        f"{NGINX_PORTS['h2']} http2": f"proxy_pass http://origin; {_PASSING}",
        f"{NGINX_PORTS['grpc']} http2": "grpc_pass grpc://origin-grpc;",
    }
    servers = "".join(
        f"server {{ listen {port}; location / {{ {way} }} }}\n" for port, way in ways.items()
    )
    upstreams = "".join(
        f"upstream {name} {{ server {origin}:{PORT}; keepalive 64; }}\n"
        for name in ("origin", "origin-grpc")
    )
    temporary = " ".join(
        f"{kind}_temp_path /tmp/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = (
        "user root; daemon off; pid /tmp/pid; worker_processes 2;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; {temporary}\n"
        f"{upstreams}{servers}}}\n"
    )
    script = 'printf %s "$1" > /tmp/nginx.conf && exec nginx -e stderr -c /tmp/nginx.conf'
    return ["sh", "-c", script, "sh", config]


def _deployment(name: str, command: list[str], ports: list[int]) -> Object:
    container: dict[str, Any] = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": [word.replace("$(", "$$(") for word in command],
        "env": [{"name": "NAME", "value": name}],
        "readinessProbe": {"tcpSocket": {"port": ports[0]}, "periodSeconds": 1},
    }
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [container],
                    "terminationGracePeriodSeconds": 0,
                    "enableServiceLinks": False,
                },
            },
        },
    }


def _service(name: str, app: str, ports: list[int]) -> Object:
    listed = [{"name": f"http-{port}", "port": port, "targetPort": port} for port in ports]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": app}, "ports": listed},
    }


def _address(ground: Ground, name: str) -> str:
    return objects.addresses_of_service(ground.lab, name, NAMESPACE)[0]


@contextmanager
def _program(ground: Ground) -> Iterator[None]:
    """The laptop's program."""
    argv = ["env", f"NAME={HERE}", str(programs.ORIGIN.built), str(LOCAL_PORT)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process: subprocess.Popen[str] = ground.start("laptop", 0, argv, **quiet)
    try:
        yield
    finally:
        process.kill()
        process.wait()
