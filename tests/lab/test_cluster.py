"""What a Kubernetes cluster has to do: pods, services, DNS, exec and port-forward."""

from __future__ import annotations

import json
import re
import signal

import pytest

from tests.lab.places import FAMILIES, http, pods, service

FETCH = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
"""
LOOK_UP = """
import socket, sys
try:
    found = socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)
    print(*sorted({entry[4][0] for entry in found}))
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME and "NXDOMAIN")
"""


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize("family", FAMILIES)
def test_pod_reaches_pod_by_its_address(lab, family):
    one, other = pods(lab, "web")
    answer = json.loads(one.python(FETCH, f"http://{bracketed(other.addresses[family])}:8080/x?y"))
    assert (answer["name"], answer["pod"]) == ("web", other.name)
    assert (answer["method"], answer["path"]) == ("GET", "/x?y")
    assert answer["client"] == one.addresses[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_pod_reaches_service_through_kube_proxy(lab, family):
    (sample,) = pods(lab, "sample")
    backends = {pod.name for pod in pods(lab, "web")}
    url = f"http://{bracketed(service(lab, 'web')[family])}"
    answered = {json.loads(sample.python(FETCH, url))["pod"] for _ in range(3)}
    assert answered <= backends


@pytest.mark.parametrize("family", FAMILIES)
def test_service_is_shared_between_its_pods(lab, family):
    address = service(lab, "web")[family]
    answered = {http(lab.layout.node_net, address, 80)["pod"] for _ in range(40)}
    assert answered == {pod.name for pod in pods(lab, "web")}


def test_names_resolve_in_a_pod_as_kubernetes_says(lab):
    (sample,) = pods(lab, "sample")
    web = " ".join(sorted(service(lab, "web").values()))
    assert sample.python(LOOK_UP, "web").strip() == web
    assert sample.python(LOOK_UP, "web.default.svc.cluster.local").strip() == web
    other = " ".join(sorted(service(lab, "web", "other-ns").values()))
    assert sample.python(LOOK_UP, "web.other-ns").strip() == other
    (first,) = (pod for pod in pods(lab, "db") if pod.name == "db-0")
    assert sample.python(LOOK_UP, "db-0.db").strip() == " ".join(sorted(first.addresses.values()))
    assert sample.python(LOOK_UP, "nothing").strip() == "NXDOMAIN"


def test_names_outside_of_the_cluster_resolve_in_a_pod(lab):
    (sample,) = pods(lab, "sample")
    assert sample.python(LOOK_UP, "outside.example").strip() == "198.51.100.7 2001:db8::7"
    assert sample.python(LOOK_UP, "outside").strip() == "198.51.100.7 2001:db8::7"


def test_each_namespace_has_a_service_web_of_its_own(lab):
    names = {"default": "web", "other-ns": "other-web", "team-a": "team-web"}
    for namespace, name in names.items():
        assert http(lab.layout.node_net, service(lab, "web", namespace)[4], 80)["name"] == name


def test_exec_passes_input_output_and_exit_code(lab):
    (sample,) = pods(lab, "sample")
    shell = ["sh", "-c", "read line; echo got $line; exit 7"]
    done = lab.run_in_laptop(["kubectl", "exec", "-i", sample.name, "--", *shell], stdin="it\n")
    assert (done.stdout, done.returncode) == ("got it\n", 7)


def test_port_forward_carries_http(lab):
    argv = ["kubectl", "port-forward", "service/web", ":80", "--address=127.0.0.1"]
    with lab.popen_in_laptop(argv, stdout=-1, text=True) as forward:
        port = re.search(r"127\.0\.0\.1:(\d+) ->", forward.stdout.readline())[1]
        assert http(lab.layout.laptop_net, "127.0.0.1", int(port))["name"] == "web"
        forward.send_signal(signal.SIGINT)


def test_agents_image_runs_as_nonroot_in_a_restricted_namespace(lab):
    limits = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    program = "import asyncio, ctypes, json, os, ssl, sys, zlib; print(os.getuid())"
    container = {
        "name": "agent",
        "image": "localhost/towline/python:3",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", program],
        "securityContext": limits,
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lab-test-nonroot", "namespace": "restricted"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    lab.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    try:
        phase = "jsonpath={.status.phase}=Succeeded"
        lab.kubectl("wait", "-n", "restricted", "pod/lab-test-nonroot", f"--for={phase}")
        assert lab.kubectl("logs", "-n", "restricted", "lab-test-nonroot") == "65532\n"
    finally:
        lab.kubectl("delete", "-n", "restricted", "pod/lab-test-nonroot", "--now")


def test_restricted_namespace_refuses_what_is_not(lab):
    argv = ["kubectl", "run", "-n", "restricted", "x", "--image=localhost/towline/python:3"]
    done = lab.run_in_laptop(argv)
    assert done.returncode != 0
    assert "violates PodSecurity" in done.stderr
