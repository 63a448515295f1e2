"""Services of every kind for a while, what can be asked about them, and a pod to ask it from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.reversename

from lab import settings
from lab.cluster import Lab
from lab.images import PYTHON_IMAGE
from lab.layout import cache_root
from tests.e2e import asking, objects

NAMESPACE = "names"
DOMAIN = "cluster.local"

Question = tuple[str, str]

FAMILIES = {
    "dual": {"ipFamilyPolicy": "RequireDualStack"},
    "four": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]},
    "six": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]},
}
PORTS = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]


def service(name: str, **spec: Any) -> objects.Object:
    return objects.service(name, NAMESPACE, "nobody", **{"ports": PORTS, **spec})


def slices(name: str, fours: int, sixes: int) -> Iterator[objects.Object]:
    """Endpoints by hand, for a service without a selector; the first of each has a host name."""
    families = {
        "IPv4": [f"10.244.{200 + n // 250}.{n % 250 + 1}" for n in range(fours)],
        "IPv6": [f"fd00:10:244:1::{n + 1:x}" for n in range(sixes)],
    }
    for family, addresses in families.items():
        endpoints: list[dict[str, Any]] = [{"addresses": [each]} for each in addresses]
        if endpoints:
            endpoints[0]["hostname"] = "first"
            yield {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{name}-{family.lower()}",
                    "namespace": NAMESPACE,
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": family,
                "endpoints": endpoints,
                "ports": PORTS,
            }


def headless(name: str, family: str, fours: int, sixes: int) -> Iterator[objects.Object]:
    yield service(name, **FAMILIES[family], clusterIP="None", selector=None)
    yield from slices(name, fours, sixes)


def generated() -> Iterator[objects.Object]:
    """The services: all kinds in all families, answers of all sizes."""
    for family, spec in FAMILIES.items():
        yield service(f"cluster-{family}", **spec)
        yield service(f"one-port-{family}", **spec, ports=[{"port": 80}])
    yield from headless("few-dual", "dual", 2, 2)
    yield from headless("few-four", "four", 3, 0)
    yield from headless("few-six", "six", 0, 3)
    yield from headless("over-512", "dual", 40, 20)
    yield from headless("over-1232", "dual", 100, 50)
    yield from headless("over-4096", "dual", 260, 10)
    yield service("empty", clusterIP="None")
    for name, target in {
        "to-outside": "outside.example",
        "to-nowhere": "nosuch.example",
        "to-cluster": f"cluster-dual.{NAMESPACE}.svc.{DOMAIN}",
        "to-zone": "alias.corp.internal",
    }.items():
        yield service(name, type="ExternalName", externalName=target, selector=None)


SERVICES = [made for made in generated() if made["kind"] == "Service"]
# Of corp.internal, see lab/manifests/10-coredns.yaml.
ZONE = ["db", "alias", "raw", "nosuch", "_pg._tcp"]
KINDS = ["A", "AAAA", "SRV", "TXT", "MX", "CNAME", "SOA", "TYPE65", "TYPE65280"]


def questions(lab: Lab) -> Iterator[Question]:
    """The names and types that are asked for."""
    services = [f"{made['metadata']['name']}.{NAMESPACE}.svc.{DOMAIN}" for made in SERVICES]
    yield from ((name, kind) for name in services for kind in ("A", "AAAA", "SRV", "TXT"))
    names = [f"nosuch.{NAMESPACE}.svc.{DOMAIN}", f"web.nosuch.svc.{DOMAIN}", f"nosuch.{DOMAIN}"]
    names += [f"{NAMESPACE}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN, f"WEB.Default.svc.{DOMAIN}"]
    names += ["corp.internal", *(f"{name}.corp.internal" for name in ZONE)]
    yield from ((name, kind) for name in names for kind in KINDS)
    for name in ("cluster-dual", "few-dual", "one-port-four", "over-512", "over-4096"):
        for port in ("_http._tcp", "_dns._udp", "_nosuch._tcp"):
            yield f"{port}.{name}.{NAMESPACE}.svc.{DOMAIN}", "SRV"
            yield f"{port}.{name}.{NAMESPACE}.svc.{DOMAIN}", "A"
    for name in ("first.few-dual.names", "db-0.db.default", "nosuch.db.default"):
        yield from ((f"{name}.svc.{DOMAIN}", kind) for kind in ("A", "AAAA"))
    yield from ((f"10-244-0-9.{NAMESPACE}.pod.{DOMAIN}", kind) for kind in ("A", "AAAA"))
    for address in reversible(lab):
        yield dns.reversename.from_address(address).to_text(omit_final_dot=True), "PTR"


def reversible(lab: Lab) -> Iterator[str]:
    """Of a service, of pods with and without a name, and of nobody."""
    yield from objects.addresses_of_service(lab, "cluster-dual", NAMESPACE)
    yield from objects.addresses_of_pod(lab, "db-0")
    yield from ("10.244.200.1", settings.NOBODY_V4, "10.96.255.254", "fd00:10:96::fffe")


class Pod:
    """Runs programs in a pod of the namespace."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def run(self, *argv: str, stdin: str = "") -> str:
        """What a program prints there."""
        words = ("exec", "-i", "asker", "-n", NAMESPACE, "--", *argv)
        return self._lab.kubectl(*words, stdin=stdin)

    def ask(self, lines: str) -> list[str]:
        """What the pod's nameserver says, see :mod:`tests.e2e.asking`."""
        script = Path(asking.__file__).read_text()
        return self.run("python3", "-c", script, stdin=lines).split()


@contextmanager
def asker(lab: Lab) -> Iterator[Pod]:
    """The services, and a pod that has the lab's programs where this machine has them."""
    folder = str(cache_root() / "programs")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "asker", "namespace": NAMESPACE},
        "spec": {
            "containers": [
                {
                    "name": "asker",
                    "image": PYTHON_IMAGE,
                    "command": ["sleep", "infinity"],
                    "volumeMounts": [{"name": "programs", "mountPath": folder, "readOnly": True}],
                }
            ],
            "volumes": [{"name": "programs", "hostPath": {"path": folder}}],
            "terminationGracePeriodSeconds": 0,
        },
    }
    with objects.namespace(lab, NAMESPACE, *generated()), objects.applied(lab, pod):
        lab.kubectl("wait", "pod/asker", "-n", NAMESPACE, "--for=condition=Ready")
        yield Pod(lab)
