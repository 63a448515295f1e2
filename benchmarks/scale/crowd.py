"""Services and pods in great number; the pods are objects only, with addresses that nobody has.

    python -m benchmarks.scale.crowd make SERVICES PODS
    python -m benchmarks.scale.crowd remove

It is a process of its own, so that it runs where the lab's API server is reached.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network
from typing import Any

from benchmarks.ground import Ground, python
from benchmarks.ways import BenchmarkError
from towline.kube.client import Client
from towline.kube.config import load_access
from towline.kube.errors import NotFound
from towline.kube.resources import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES, Resource

NAMESPACE = "benchmark-crowd"
ENDPOINTS = Resource("", "v1", "endpoints")
# The API server and its store share the machine with all else.
_AT_A_TIME = 16
_SECONDS = 1800
_LOOK_SECONDS = 1
# Of no other use in the lab.
_POD_RANGE = IPv4Network("10.245.0.0/16")


@contextmanager
def crowd(ground: Ground, services: int, pods: int) -> Iterator[None]:
    """They are there meanwhile, in a namespace of their own, and the cluster at rest."""
    _run(ground, "remove")
    try:
        _run(ground, "make", services, pods)
        yield
    finally:
        _run(ground, "remove")
        # The objects in it take longer than the request.
        ground.lab.kubectl(
            *("wait", "--for=delete", f"namespace/{NAMESPACE}", f"--timeout={_SECONDS}s"),
            timeout_seconds=_SECONDS,
        )


def service_name(number: int) -> str:
    """The name of one of the services."""
    return f"service-{number}"


def _run(ground: Ground, *arguments: object) -> None:
    argv = python("scale.crowd", *arguments)
    process = ground.start("laptop", 0, argv, stderr=subprocess.PIPE)
    try:
        _, err = process.communicate(timeout=_SECONDS)
    finally:
        process.kill()
    if process.returncode:
        raise BenchmarkError(f"{' '.join(argv)}: {err.strip().splitlines()[-1:]}")


async def main(deed: str, *numbers: str) -> None:
    async with Client(load_access()) as client:
        if deed == "remove":
            with suppress(NotFound):
                await client.delete(NAMESPACES, NAMESPACE)
            return
        services, pods = map(int, numbers)
        await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        await _all(_service(client, number) for number in range(services))
        await _all(_pod(client, number) for number in range(pods))
        for resource in (ENDPOINTS, ENDPOINT_SLICES):
            await _digested(client, resource, services)


async def _service(client: Client, number: int) -> None:
    spec = {"selector": {"app": service_name(number)}, "ports": [{"port": 80}]}
    body = {"metadata": {"name": service_name(number)}, "spec": spec}
    await client.create(SERVICES, body, namespace=NAMESPACE)


async def _pod(client: Client, number: int) -> None:
    name, address = f"pod-{number}", str(_POD_RANGE[number + 1])
    # A scheduler that there is not: it stays an object.
    spec = {"schedulerName": "nobody", "containers": [{"name": "app", "image": "none"}]}
    await client.create(PODS, {"metadata": {"name": name}, "spec": spec}, namespace=NAMESPACE)
    status: dict[str, Any] = {"podIP": address, "podIPs": [{"ip": address}]}
    await client.patch(PODS, name, {"status": status}, namespace=NAMESPACE, subresource="status")


async def _digested(client: Client, resource: Resource, number: int) -> None:
    """Wait until controllers have made so many of the objects that come with services.

    They make some 20 in a second, and as long they keep the machine busy.
    """
    while True:
        page = json.loads(await client.get_raw(resource.path(NAMESPACE), [("limit", "1")]))
        if len(page["items"]) + page["metadata"].get("remainingItemCount", 0) >= number:
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Do all of it, some at a time."""
    waiting = iter(work)

    async def worker() -> None:
        for each in waiting:
            await each

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_A_TIME):
            group.create_task(worker())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
