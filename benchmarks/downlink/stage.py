"""What is exchanged, and the programs of the laptop that answer instead."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from benchmarks.ground import FIRST_PORT, NAMESPACE, POD, Ground, python
from lab import namespaces
from lab.cluster import Lab
from tests.e2e import objects
from tests.e2e.objects import Object
from tests.e2e.waiting import until
from tests.e2e.workloads import pods_of, service, standing, workload

APPLICATION = "benchmark-application"
"""A Deployment of the sample application, and its service: its answers tell who gives them."""

APPLICATION_PORT = 8080
HERE = "here"
"""The name of the same application on the laptop."""

EXCHANGED = "benchmark-exchanged"
ORIGINAL = "benchmark-original"
"""Two services for the target, of which one is exchanged."""

# Of its ports just the first is exposed.
CLAIMED_PORT, UNCLAIMED_PORT = FIRST_PORT, FIRST_PORT + 1

# On the laptop; the application's ports begin far below its first.
LOCAL_TARGET_PORT = 7500
_OFFSET = 1000
LOCAL_APPLICATION_PORT = APPLICATION_PORT + _OFFSET

_START_SECONDS = 15.0
_END_SECONDS = 5.0
_GONE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """The ground, with services on it: their addresses."""

    ground: Ground
    application: str
    exchanged: str
    original: str

    def await_put_back(self) -> None:
        """Wait until nothing of a session is left: no changed service, and no agent that runs."""
        lab = self.ground.lab

        def is_left() -> bool:
            found = lab.kubectl_json("services", "-n", NAMESPACE)["items"]
            changed = [one for one in found if "towline/agent" in one["spec"].get("selector", ())]
            return bool(changed or objects.agents(lab) or _agents_in_pods(lab))

        until(lambda: not is_left(), _GONE_SECONDS, "the session to leave nothing")


@contextmanager
def staged(ground: Ground) -> Iterator[Stage]:
    """The services and all that answers for them, as long as the context lasts."""
    made = [
        workload("Deployment", APPLICATION, namespace=NAMESPACE, replicas=1),
        service(APPLICATION, namespace=NAMESPACE),
        *(_service_of_target(name) for name in (EXCHANGED, ORIGINAL)),
    ]
    target = python("target", LOCAL_TARGET_PORT, 1)
    here = ["env", f"NAME={HERE}", f"PORT_OFFSET={_OFFSET}", sys.executable, "-m", "lab.sample"]
    with (
        standing(ground.lab, *made),
        _program(ground, target, LOCAL_TARGET_PORT),
        _program(ground, here, LOCAL_APPLICATION_PORT),
    ):
        names = (APPLICATION, EXCHANGED, ORIGINAL)
        addresses = (objects.addresses_of_service(ground.lab, name, NAMESPACE) for name in names)
        yield Stage(ground, *(found[0] for found in addresses))


def _agents_in_pods(lab: Lab) -> list[Object]:
    """The status of each agent in a pod of the application that has not ended."""
    return [
        status
        for pod in pods_of(lab, APPLICATION, NAMESPACE)
        for status in pod["status"].get("ephemeralContainerStatuses", ())
        if "terminated" not in status["state"]
    ]


def _service_of_target(name: str) -> Object:
    ports = [
        {"name": f"port-{number}", "port": number, "targetPort": number}
        for number in (CLAIMED_PORT, UNCLAIMED_PORT)
    ]
    return service(name, namespace=NAMESPACE, app=POD, ports=ports)


@contextmanager
def _program(ground: Ground, argv: Sequence[str], port: int) -> Iterator[None]:
    """A program of the laptop that listens on a port."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process: subprocess.Popen[str] = ground.start("laptop", 0, argv, **quiet)
    try:
        until(lambda: _listens(ground, port), _START_SECONDS, f"{argv!r} to listen")
        yield
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(ground: Ground, port: int) -> bool:
    def connect() -> bool:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        return False

    return namespaces.call_inside(ground.lab.layout.laptop_net, connect)
