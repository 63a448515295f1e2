"""The check that nothing is left does fail when something is: once for each kind of thing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab import namespaces
from lab.images import PYTHON_IMAGE, SAMPLE_IMAGE
from tests.e2e import notrace, objects
from tests.e2e.laptop import NOBODY
from tests.e2e.notrace import Trace
from tests.e2e.trace import kernel
from tests.e2e.trace.essence import SLICES
from tests.e2e.trace.snapshot import difference
from tests.e2e.waiting import until
from towline.agent.undo import AGENT_LABEL, ANNOTATION, Record

# (what it does on the laptop, how it is undone, what the failure has to name)
ON_THE_LAPTOP = [
    ("nft add table inet planted", "nft delete table inet planted", "table inet planted"),
    ("ip link add planted type veth peer planted1", "ip link delete planted", "planted"),
    ("ip address add 192.0.2.77/32 dev lo", "ip address delete 192.0.2.77/32 dev lo", "192.0.2.77"),
    ("ip route add 192.0.2.78 dev eth0", "ip route delete 192.0.2.78 dev eth0", "192.0.2.78"),
    ("ip -6 route add 2001:db8::9 dev eth0", "ip -6 route delete 2001:db8::9", "2001:db8::9"),
    ("ip route add 192.0.2.79 dev eth0 table 99", "ip route flush table 99", "192.0.2.79"),
    ("ip rule add fwmark 7 lookup 99", "ip rule delete fwmark 7 lookup 99", "fwmark 0x7"),
    ("ip -6 rule add fwmark 7 lookup 99", "ip -6 rule delete fwmark 7 lookup 99", "fwmark 0x7"),
    (
        "echo nameserver 192.0.2.53 >> /etc/resolv.conf",
        't=$(grep -v 192.0.2.53 /etc/resolv.conf); echo "$t" > /etc/resolv.conf',
        "resolv.conf has changed",
    ),
    ("touch $HOME/planted", "rm $HOME/planted", "planted"),
    ("mkdir -p $HOME/.cache/towline", "rm -r $HOME/.cache", ".cache/towline"),
    ("touch /tmp/planted", "rm /tmp/planted", "tmp/planted"),
    ("touch /var/tmp/planted", "rm /var/tmp/planted", "var/tmp/planted"),
    ("touch /run/planted", "rm /run/planted", "run/planted"),
    ("touch /dev/shm/planted", "rm /dev/shm/planted", "dev/shm/planted"),
    ("echo >> $HOME/.kube/config", "sed -i '$d' $HOME/.kube/config", ".kube/config has changed"),
    ("chmod 755 $HOME/.kube/config", "chmod 600 $HOME/.kube/config", ".kube/config has changed"),
    (
        "echo 0 > /proc/sys/net/ipv4/conf/eth0/accept_redirects",
        "echo 1 > /proc/sys/net/ipv4/conf/eth0/accept_redirects",
        "conf/eth0/accept_redirects has changed",
    ),
]


@pytest.fixture
def before(laptop):
    return notrace.local(laptop)


@pytest.mark.parametrize(
    ("plant", "undo", "named"), ON_THE_LAPTOP, ids=[plant for plant, _, _ in ON_THE_LAPTOP]
)
def test_change_of_the_laptop_is_seen(laptop, before, plant, undo, named):
    assert laptop.run("sh", "-c", plant).returncode == 0
    try:
        assert named in difference(before, notrace.local(laptop))
    finally:
        laptop.run("sh", "-c", undo)
    assert difference(before, notrace.local(laptop)) == ""


@contextmanager
def running(laptop, *argv):
    process = laptop.start(argv, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_process_on_the_laptop_is_seen(laptop, before):
    with running(laptop, "sh", "-c", "echo; exec sleep 60") as process:
        assert f"process {process.pid} sleep 60" in difference(before, notrace.local(laptop))
    assert difference(before, notrace.local(laptop)) == ""


def test_process_that_left_the_laptops_network_is_seen(laptop, before):
    with running(laptop, "unshare", "-n", "sh", "-c", "echo; exec sleep 60"):
        assert "sleep 60" in difference(before, notrace.local(laptop))


def test_process_that_left_its_environment_is_seen(laptop, before):
    with running(laptop, "env", "-i", "sh", "-c", "echo; exec sleep 60"):
        assert "sleep 60" in difference(before, notrace.local(laptop))


SOCKETS = [
    (lambda: socket.create_server(("127.0.0.1", 7777)), "tcp 0100007F:1E61"),
    (lambda: socket.create_server(("::1", 7777), family=socket.AF_INET6), "tcp6"),
    (lambda: bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 7777)), "udp 0100007F:1E61"),
    (lambda: bound(socket.AF_UNIX, socket.SOCK_STREAM, "\0planted"), "unix type 0001 @planted"),
    (lambda: socket.socket(socket.AF_UNIX), "unix type 0001 (no name)"),
    (lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW), "raw"),
    (lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0), "packet"),
    (lambda: bound(socket.AF_NETLINK, socket.SOCK_RAW, (0, 0)), "netlink"),
]


def bound(family, kind, address):
    made = socket.socket(family, kind)
    made.bind(address)
    return made


@pytest.mark.parametrize(("make", "named"), SOCKETS, ids=[named for _, named in SOCKETS])
def test_socket_is_seen(laptop, before, make, named):
    with laptop.call(make):
        assert f"+ socket: {named}" in difference(before, notrace.local(laptop))
    assert difference(before, notrace.local(laptop)) == ""


def test_file_of_another_user_is_seen(laptop, before):
    other = replace(laptop, account=NOBODY)
    assert other.run("touch", other.home / "planted").returncode == 0
    assert "nobody/planted" in difference(before, notrace.local(laptop))
    (other.home / "planted").unlink()


IN_THE_CLUSTER = [
    {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}},
    {"apiVersion": "v1", "kind": "Secret"},
    {"apiVersion": "v1", "kind": "ServiceAccount"},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": []},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": []},
    {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 1}]}},
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "endpoints": [],
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "spec": {"podSelector": {"matchLabels": {"nobody": "here"}}},
    },
    {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "spec": {
            "group": "e2e.towline",
            "names": {"plural": "planteds", "kind": "Planted"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    },
]


def test_each_object_in_the_cluster_is_seen(lab, api):
    before = notrace.remote(lab, api)
    named = [named_object(body) for body in IN_THE_CLUSTER]
    with objects.applied(lab, *named):
        seen = difference(before, notrace.remote(lab, api))
    for body in named:
        assert f"/{body['metadata']['name']} " in seen or f" {body['metadata']['name']} " in seen
    settled = notrace.await_same(before, lambda: notrace.remote(lab, api), 30)
    assert settled == ""


def named_object(body):
    name = f"planted-{body['kind'].lower()}"
    if body["kind"] == "CustomResourceDefinition":
        name = "planteds.e2e.towline"
    return body | {"metadata": {"name": name}}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"metadata": {"labels": {"planted": "yes"}}}, '"planted": "yes"'),
        ({"metadata": {"annotations": {"planted": "yes"}}}, '"planted": "yes"'),
        ({"metadata": {"finalizers": ["e2e.towline/planted"]}}, "e2e.towline/planted"),
        ({"data": {"a": "2"}}, '"a": "2"'),
    ],
)
def test_change_of_an_object_is_seen(lab, api, change, named):
    with objects.applied(lab, named_object(IN_THE_CLUSTER[0])):
        before = notrace.remote(lab, api)
        patch(lab, change)
        seen = difference(before, notrace.remote(lab, api))
        patch(lab, {"metadata": {"finalizers": None}})
    assert "configmaps default/planted-configmap has changed" in seen
    assert named in seen


def patch(lab, change):
    arguments = (
        "patch",
        "configmap",
        "planted-configmap",
        "--type=merge",
        "-p",
        json.dumps(change),
    )
    lab.kubectl(*arguments)


def test_object_that_was_replaced_by_its_like_is_seen(lab, api):
    body = named_object(IN_THE_CLUSTER[0])
    with objects.applied(lab, body):
        before = notrace.remote(lab, api)
        lab.kubectl("replace", "--force", "-f", "-", stdin=json.dumps(body))
        assert "uid " in difference(before, notrace.remote(lab, api))


def test_services_that_led_elsewhere_for_a_while_are_as_before(lab, api):
    before = notrace.remote(lab, api)
    change_service(lab, {"app": None, "planted": "x"}, "{}")
    until(lambda: endpoints_of(lab, "web") == [], 30, "the service to lead nowhere")
    seen = changed(before, notrace.remote(lab, api))
    assert {"services default/web", f"{SLICES} default/of web IPv4"} <= seen
    change_service(lab, {"app": "web", "planted": None}, None)
    assert notrace.await_same(before, lambda: notrace.remote(lab, api), 30) == ""


def changed(before, after):
    """What objects that are on both sides differ: the text of all differences is cut short."""
    old, new = before["object"], after["object"]
    return {name for name in old.keys() & new.keys() if old[name] != new[name]}


def change_service(lab, selector, planted):
    body = {"spec": {"selector": selector}, "metadata": {"annotations": {"planted": planted}}}
    lab.kubectl("patch", "service", "web", "--type=merge", "-p", json.dumps(body))


def endpoints_of(lab, name):
    selected = ("-l", f"kubernetes.io/service-name={name}")
    items = lab.kubectl_json("endpointslices", *selected)["items"]
    return [endpoint for item in items for endpoint in item["endpoints"] or ()]


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "planted", "namespace": "default"},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "a", "image": SAMPLE_IMAGE}],
    },
}


def test_rules_in_a_pods_network_are_seen(lab, api):
    with objects.applied(lab, POD):
        lab.kubectl("wait", "--for=condition=Ready", "pod/planted")
        before = notrace.remote(lab, api)
        uid = lab.kubectl_json("pod", "planted")["metadata"]["uid"]
        net = Path(f"/proc/{objects.processes_of_pod(uid)[0]}/ns/net")
        namespaces.call_inside(net, lambda: kernel.run("nft add table inet planted"))
        assert "table inet planted" in difference(before, notrace.remote(lab, api))


def test_ephemeral_container_of_ours_is_seen_until_it_has_ended(lab, api):
    container = {"name": "towline-planted", "image": PYTHON_IMAGE, "stdin": True, "stdinOnce": True}
    reading = {**container, "command": ["python3", "-c", "import sys; sys.stdin.read()"]}
    body = json.dumps({"spec": {"ephemeralContainers": [reading]}})
    with objects.applied(lab, POD):
        lab.kubectl("wait", "--for=condition=Ready", "pod/planted")
        before = notrace.remote(lab, api)
        lab.kubectl("patch", "pod", "planted", "--subresource=ephemeralcontainers", "-p", body)
        until(lambda: has_started(lab, "planted"), 30, "the container to run")
        assert "towline-planted" in difference(before, notrace.remote(lab, api))
        lab.kubectl("attach", "-i", "planted", "-c", "towline-planted")
        assert notrace.await_same(before, lambda: notrace.remote(lab, api), 30) == ""


def has_started(lab, pod):
    status = lab.kubectl_json("pod", pod)["status"]
    containers = status.get("ephemeralContainerStatuses", ())
    return any("running" in container["state"] for container in containers)


def test_pods_that_may_be_replaced_are_to_be_as_many(lab, laptop, api):
    trace = Trace(laptop, api)
    trace.allow_new_pods()
    trace.cluster_seconds = 60
    pods = [pod["metadata"]["name"] for pod in lab.kubectl_json("pods", "-l", "app=db")["items"]]
    lab.kubectl("delete", "pod", *pods, "--wait=false")
    seen = changed(trace._cluster_before, trace._remote())
    assert "pods default/of StatefulSet db" in seen
    trace.check_cluster()


def test_service_that_a_failed_test_left_is_given_back(lab, laptop, api):
    trace = Trace(laptop, api)
    trace.cluster_seconds = 0.5
    selector = {"app": None, AGENT_LABEL: "planted"}
    record = Record("planted", "jane@laptop", "2026-01-02T03:04:05+00:00", {"app": "web"})
    body = {
        "spec": {"selector": selector},
        "metadata": {"annotations": {ANNOTATION: record.to_json()}},
    }
    lab.kubectl("patch", "service", "web", "--type=merge", "-p", json.dumps(body))
    with pytest.raises(AssertionError, match=r"default/web has changed"):
        trace.check()
    trace.cluster_seconds = 30
    trace.check()


def test_check_fails_for_a_trace_and_clears_it(lab, laptop, api):
    trace = Trace(laptop, api)
    process = laptop.start(["sleep", "60"])
    with pytest.raises(AssertionError, match=rf"process {process.pid}"):
        trace.check()
    assert process.wait(5) == -signal.SIGKILL
    trace.check()


def test_check_of_the_cluster_waits_no_longer_than_it_may(lab, laptop, api):
    trace = Trace(laptop, api)
    trace.cluster_seconds = 0.5
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "planted", "labels": {"app.kubernetes.io/managed-by": "towline"}},
        "spec": {
            "suspend": True,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "a", "image": "localhost/towline/python:3"}],
                }
            },
        },
    }
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(job))
    with pytest.raises(AssertionError, match=r"jobs.batch default/planted"):
        trace.check()
    assert objects.agents(lab) == [], "what is left is cleared for the tests after it"


def test_laptop_is_not_this_machine(laptop):
    """What the tests do there they do not do here."""
    here = os.stat("/proc/self/ns/net").st_ino
    assert laptop.call(lambda: os.stat("/proc/thread-self/ns/net").st_ino) != here
