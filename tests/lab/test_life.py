"""Up again, up after something died, and down: what each leaves and does not leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import node, processes
from lab.errors import LabError
from lab.layout import Layout, default_name
from tests.lab.conftest import NAME
from tests.lab.places import http, service

COMMAND = str(Path(sys.executable).with_name("lab"))
SETTLE_SECONDS = 20
COMPONENTS = (
    "containerd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
    "world-dns",
)
INTERFACES = ("cni0", "kube-ipvs0", "up0")
SETTINGS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
TABLES = ("kube-proxy", "lab")
FOLDERS = (
    "/etc/cni",
    "/etc/containerd",
    "/etc/kubernetes",
    "/opt/containerd",
    "/run/containerd",
    "/run/runc",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)


def works(lab) -> bool:
    """Whether the node is well enough to start a pod, and a service to answer."""
    lab.kubectl("delete", "pod", "--now", "-n", "other-ns", "-l", "app=web")
    lab.kubectl("rollout", "status", "-n", "other-ns", "deployment/web", "--timeout=60s")
    return answers(lab, "other-ns") == "other-web"


def answers(lab, namespace) -> str:
    """Who answers for the service `web`, as soon as kube-proxy knows of its pods."""
    address = service(lab, "web", namespace)[4]
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            return http(lab.layout.node_net, address, 80)["name"]
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def leftovers(lab) -> list[str]:
    """Everything on the machine that bears the lab's name or belongs to its namespaces."""
    mark, state = lab.layout.title, str(lab.layout.state)
    found = [
        f"process {process.pid} {process.arguments}"
        for process in processes.all_processes()
        if process.pid != os.getpid()
        and any(word == mark or state in word for word in process.arguments)
    ]
    found += [
        f"mount {line.split()[4]}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if state in line or mark in line
    ]
    found += [f"namespace {path}" for path in Path("/run/netns").glob(f"{mark}*")]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"**/{mark}")]
    found += [f"file {path}" for path in lab.layout.state.parent.glob(f"{lab.layout.name}*")]
    return found


def machine() -> dict[str, object]:
    """What the lab's programs make where they are not kept from it, and without the lab's name.

    Anything else on the machine others may change at any time.
    """
    tables = subprocess.run(
        ["nft", "list", "tables"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return {
        "interfaces": [name for name in INTERFACES if Path("/sys/class/net", name).exists()],
        "namespaces": sorted(path.name for path in Path("/run/netns").glob("cni-*")),
        "settings": [Path("/proc/sys", name).read_text() for name in SETTINGS],
        "tables": [table for table in tables if table.split()[-1] in TABLES],
        "folders": {
            path: sorted(map(str, Path(path).iterdir())) for path in FOLDERS if Path(path).is_dir()
        },
    }


def test_up_again_changes_nothing(lab):
    before = lab.status()
    assert sorted(before) == sorted(COMPONENTS)
    lab.up()
    assert lab.status() == before


def status_told() -> subprocess.CompletedProcess[str]:
    """What `lab status` says."""
    argv = [COMMAND, "--name", NAME, "status"]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


def test_status_says_what_runs_and_what_is_dead(lab):
    done = status_told()
    told = dict(line.split() for line in done.stdout.splitlines())
    assert (done.returncode, told) == (0, {n: str(pid) for n, pid in lab.status().items()})
    lab.kill_component("world-dns")
    done = status_told()
    told = dict(line.split() for line in done.stdout.splitlines())
    assert (done.returncode, told["world-dns"]) == (1, "dead")
    assert "lab up" in done.stderr
    lab.up()


@pytest.mark.parametrize("name", COMPONENTS)
def test_up_restarts_a_component_that_was_killed(lab, name):
    before = lab.status()
    lab.kill_component(name)
    assert lab.status() == before | {name: None}
    lab.up()
    after = lab.status()
    assert after[name] not in (None, before[name])
    assert after | {name: 0} == before | {name: 0}


def test_up_repairs_when_all_were_killed(lab):
    processes.kill([pid for pid in lab.status().values() if pid])
    lab.up()
    assert None not in lab.status().values()
    assert works(lab)


def test_up_repairs_when_the_node_died(lab):
    processes.kill([node.first_pid(lab.layout)])
    assert set(lab.status().values()) == {None}
    lab.up()
    assert works(lab)


def test_up_repairs_when_the_network_is_gone(lab):
    subprocess.run(["ip", "netns", "delete", lab.layout.laptop_net.name], check=True)
    lab.up()
    assert works(lab)
    assert lab.run_in_laptop(["kubectl", "get", "nodes"]).returncode == 0


def test_up_brings_back_an_object_that_was_deleted(lab):
    lab.kubectl("delete", "service", "-n", "team-a", "web")
    lab.up()
    assert answers(lab, "team-a") == "team-web"


def test_down_leaves_nothing(own_lab):
    own_lab.down()
    assert leftovers(own_lab) == []
    before = machine()
    own_lab.up()
    own_lab.kubeconfig(rtt_ms=10)
    assert works(own_lab)
    with own_lab.popen_in_laptop(["sleep", "600"]) as visitor:
        own_lab.down()
        assert visitor.wait(10) == -signal.SIGKILL
    assert leftovers(own_lab) == []
    assert machine() == before
    own_lab.down()


def test_what_needs_the_lab_says_when_it_is_down(own_lab):
    own_lab.down()
    with pytest.raises(LabError, match="the lab is down"):
        own_lab.kubeconfig()
    done = status_told()
    assert (done.returncode, done.stderr) == (1, f"Lab {NAME} is down.\n")
    done = own_lab.run_in_laptop(["true"])
    assert (done.returncode, done.stderr) == (
        1,
        "The lab is down: start it with 'uv run lab up'.\n",
    )


def test_each_checkout_has_a_lab_of_its_own(monkeypatch):
    monkeypatch.delenv("TOWLINE_LAB", raising=False)
    asked = [sys.executable, "-c", "from lab.layout import default_name; print(default_name())"]
    own = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    assert own == default_name()
    monkeypatch.setattr("lab.layout.CHECKOUT", Path("/somewhere/else"))
    assert default_name() != own
    monkeypatch.setenv("TOWLINE_LAB", "mine")
    assert default_name() == "mine"


@pytest.mark.parametrize("name", ["", "-a", "a/b", "A", "a" * 25])
def test_name_that_cannot_be_one_is_refused(name):
    with pytest.raises(LabError, match="cannot be a lab's name"):
        Layout(name)
