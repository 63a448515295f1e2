"""The promise: what there was before a session, on the laptop and in the cluster, is all that
there is after it.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

from lab import namespaces, network, users
from lab import processes as lab_processes
from lab.cluster import Lab
from lab.errors import LabError
from tests.e2e import apiserver
from tests.e2e.laptop import Laptop
from tests.e2e.trace import cluster, files, kernel, podnets, processes, sockets
from tests.e2e.trace.snapshot import Snapshot, View, difference
from towline.agent import undo

# A process that has been killed is taken apart by the kernel, device and table with it, a few
# milliseconds after it has ended for those who wait for it; a helper first has to see that.
LOCAL_SECONDS = 1.0
# Kubernetes' own time for deleting a Job and its pod, whose container gets 5 s to end.
ORDERLY_SECONDS = 15.0
# After a session that was cut off, above the time that its agent waits for it.
ABRUPT_SECONDS = 30.0

# Of the machine itself, which a session has no business to touch.
_ETC = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/sudoers.d")

# sudo's own notes of who has given a password, below the laptop's folder.
_SUDOS_OWN = "machine/run/sudo"

_LOOK_AGAIN_SECONDS = 0.05

_INTERCEPTED = "services,deployments,statefulsets,replicasets"


class Trace:
    """A snapshot from when this was made, to compare with.

    `cluster_seconds` is how long the cluster may take to be as it was; a test may change it.
    """

    def __init__(self, laptop: Laptop, api: cluster.Api) -> None:
        self.cluster_seconds = ORDERLY_SECONDS
        self._laptop = laptop
        self._api = api
        self._new_pods = False
        self._laptop_before = local(laptop)
        self._cluster_before = self._remote()

    def allow_grace(self, seconds: float) -> None:
        """Sessions are cut off here whose agents wait for them for so long."""
        self.cluster_seconds = seconds + ABRUPT_SECONDS

    def allow_new_pods(self) -> None:
        """Controllers may replace their pods by others that are alike from now on."""
        self._new_pods = True
        self._cluster_before = self._remote()

    def check(self) -> None:
        """Fail, with what is different, unless all is as it was. Clears up what is left."""
        try:
            self.check_laptop()
        finally:
            self.check_cluster()

    def check_laptop(self) -> None:
        """The same for the laptop alone, which is to be as it was at once."""
        if left := await_same(self._laptop_before, lambda: local(self._laptop), LOCAL_SECONDS):
            clear(self._laptop)
            raise AssertionError(f"traces on the laptop:\n{left}")

    def check_cluster(self) -> None:
        """The same for the cluster alone, from now on within its time."""
        seconds = self.cluster_seconds
        if left := await_same(self._cluster_before, self._remote, seconds):
            clear(self._laptop)
            raise AssertionError(f"traces in the cluster after {seconds:.0f} s:\n{left}")

    def _remote(self) -> Snapshot:
        return remote(self._laptop.lab, self._api, new_pods=self._new_pods)


def local(laptop: Laptop) -> Snapshot:
    """What there is on the laptop."""

    def inside() -> Snapshot:
        return {
            "network": kernel.view(),
            "setting": kernel.settings(),
            "socket": sockets.view(),
        }

    roots = [laptop.folder, laptop.lab.layout.laptop_etc, *map(Path, _ETC)]
    return {
        **laptop.call(inside),
        "file": files.view(roots, without=[laptop.folder / _SUDOS_OWN]),
        "process": processes.view(laptop.belonging),
    }


def remote(lab: Lab, api: cluster.Api, *, new_pods: bool = False) -> Snapshot:
    """What there is in the cluster: objects, and what was set up in pods' networks."""

    def objects() -> View:
        return cluster.view(api.get, new_pods=new_pods)

    return {
        "object": namespaces.call_inside(lab.layout.node_net, objects),
        "pod's network": podnets.view(lab.layout, new_pods=new_pods),
    }


def open_api(lab: Lab) -> cluster.Api:
    """The cluster's API, for use from the node's network and without a word in the audit log."""
    tls = apiserver.tls_context(lab, users.OBSERVER)
    return cluster.Api(network.NODE_V4, network.API_PORT, tls)


def clear(laptop: Laptop) -> None:
    """Remove what a failed test has left, so that the next one tells of its own failures."""
    left = processes.pids(laptop.belonging)
    with suppress(TimeoutError):
        lab_processes.kill(left)
    with suppress(LabError):
        selected = ("-A", "-l", "app.kubernetes.io/managed-by=towline")
        laptop.lab.kubectl("delete", "jobs", *selected, "--cascade=foreground")
        _give_back(laptop.lab)


def _give_back(lab: Lab) -> None:
    """Make of what is intercepted what its record says that it was."""
    for item in lab.kubectl_json(_INTERCEPTED, "-A")["items"]:
        record = undo.of(item)
        if record and (change := undo.undo(item, record)):
            about = item["metadata"]
            what = (f"{item['kind']}/{about['name']}", "-n", about["namespace"])
            lab.kubectl("patch", *what, "--type=merge", "-p", json.dumps(change))


def await_same(before: Snapshot, look, seconds: float) -> str:
    """The difference that is left when the time is over; "" as soon as there is none.

    A look shows what there was when it began, and on a busy machine it may take longer than all
    the time: the last one begins when that is over.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        left = difference(before, look())
        if not left or began > deadline:
            return left
        time.sleep(_LOOK_AGAIN_SECONDS)
