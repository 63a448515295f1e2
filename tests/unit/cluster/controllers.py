"""What the Job controller and a kubelet do, played by the test."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from towline.kube.client import Client
from towline.kube.resources import JOBS, PODS

RUNNING = {"containerStatuses": [{"image": "i", "state": {"running": {}}}], "phase": "Running"}


async def the_job(client: Client) -> dict[str, Any]:
    """The Job, as soon as there is one."""
    while not (items := (await client.list(JOBS, namespace="default")).items):
        await asyncio.sleep(0.005)
    job: dict[str, Any] = items[0]
    return job


async def job_without_pod(client: Client) -> dict[str, Any]:
    """The first Job that has no pod, as soon as there is one."""
    while True:
        pods = (await client.list(PODS, namespace="default")).items
        served = {pod["metadata"]["labels"]["controller-uid"] for pod in pods}
        for job in (await client.list(JOBS, namespace="default")).items:
            if job["metadata"]["uid"] not in served:
                return dict(job)
        await asyncio.sleep(0.005)


async def play_pod(server: ApiServer, client: Client, status: dict[str, Any]) -> dict[str, Any]:
    """Make a Job's pod, as the Job controller and a kubelet would; gives the Job."""
    job = await job_without_pod(client)
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    labels = {"job-name": name, "controller-uid": uid}
    before = (await client.list(PODS, namespace="default", labels=f"job-name={name}")).items
    about = {"name": f"{name}-pod{len(before) or ''}", "labels": labels}
    pod = {"metadata": about, "status": status}
    await server.add("api/v1", "pods", pod, namespace="default")
    return job


async def set_status(server: ApiServer, pod: str, status: dict[str, Any]) -> None:
    """What the kubelet or the node controller says of a pod from now on."""
    key = Key(Collection("api/v1", "pods"), "default", pod)
    await server.store.update(key, {**server.store.get(key), "status": status})


def an_event(job: dict[str, Any], reason: str, message: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "event"},
        "involvedObject": {"name": job["metadata"]["name"]},
        "reason": reason,
        "message": message,
    }
