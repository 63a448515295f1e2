"""What runs on the node: each program's command line, and how one knows that it is ready."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import namespaces, network, node, processes, settings
from lab.layout import Layout

Probe = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Component:
    """A program of the node. `words` of the words of its command line tell which it is, the
    name of an interpreter not counted; `ready` is called in the node's network.
    """

    name: str
    argv: tuple[str, ...]
    ready: Probe
    words: int = 1

    def is_same(self, arguments: tuple[str, ...]) -> bool:
        """Whether that is the command line of this program, if with other options."""
        first = 1 if self.argv[0] == sys.executable else 0
        return arguments[first : first + self.words] == self.argv[first : first + self.words]


def ensure_running(layout: Layout, component: Component) -> bool:
    """Start it unless it runs; start it anew when its command line has changed since.

    Returns whether it was started.
    """
    found = [p for p in node.running(layout) if component.is_same(p.arguments)]
    if any(p.arguments == component.argv for p in found):
        return False
    processes.kill([p.pid for p in found])
    node.start(layout, component.name, list(component.argv))
    return True


def is_ready(layout: Layout, component: Component) -> bool:
    """Whether it does its work."""
    return namespaces.call_inside(layout.node_net, component.ready)


def pid_of(layout: Layout, component: Component) -> int | None:
    """Its process, or None when it does not run."""
    for process in node.running(layout):
        if process.arguments == component.argv:
            return process.pid
    return None


def etcd(layout: Layout) -> Component:
    """The cluster's store. It need not survive a power cut, so it does not wait for the disk."""
    return Component(
        "etcd",
        (
            str(layout.programs / "etcd"),
            f"--data-dir={layout.node}/etcd",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
        ),
        _answers("http://127.0.0.1:2379/readyz"),
    )


def containerd(layout: Layout) -> Component:
    """What runs the pods' containers."""

    def ready() -> bool:
        asked = ["ctr", "-a", str(layout.containerd_socket), "version"]
        return subprocess.run(asked, capture_output=True, check=False).returncode == 0

    argv = ("containerd", f"--config={settings.containerd(layout)}")
    return Component("containerd", argv, ready)


def world_dns(layout: Layout) -> Component:
    """The DNS server of the world outside of the cluster."""
    argv = (sys.executable, "-m", "lab.worlddns", str(layout.dns_log))
    return Component("world-dns", argv, _listens(53), words=2)


def delay(rtt_ms: int) -> Component:
    """The API server once more, `rtt_ms` away."""
    port = network.DELAYED_API_PORT + rtt_ms
    ends = (network.NODE_V4, str(port), str(network.API_PORT))
    argv = (sys.executable, "-m", "lab.delay", *ends, str(rtt_ms))
    return Component(f"delay-{rtt_ms}", argv, _listens(port), words=4)


def api_server(layout: Layout) -> Component:
    """The API server, with certificates as the only credentials but service account tokens."""
    pki = layout.pki
    return Component(
        "kube-apiserver",
        (
            str(layout.programs / "kube-apiserver"),
            "--etcd-servers=http://127.0.0.1:2379",
            f"--advertise-address={network.NODE_V4}",
            "--bind-address=::",
            f"--secure-port={network.API_PORT}",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            "--authorization-mode=Node,RBAC",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={settings.SERVICES}",
            f"--kubelet-client-certificate={pki}/kubelet-client.crt",
            f"--kubelet-client-key={pki}/kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--allow-privileged=true",
            f"--audit-policy-file={settings.audit_policy(layout)}",
            f"--audit-log-path={layout.audit_log}",
            "--audit-log-maxsize=100",
            "--audit-log-maxbackup=1",
        ),
        _answers(f"https://127.0.0.1:{network.API_PORT}/readyz"),
    )


def controller_manager(layout: Layout) -> Component:
    """The controllers; alone, so no leader is elected."""
    return Component(
        "kube-controller-manager",
        (
            str(layout.programs / "kube-controller-manager"),
            f"--kubeconfig={settings.identity(layout, 'kube-controller-manager')}",
            f"--service-account-private-key-file={layout.pki}/sa.key",
            f"--root-ca-file={layout.pki}/ca.crt",
            "--use-service-account-credentials=true",
            "--allocate-node-cidrs=true",
            f"--cluster-cidr={settings.PODS_V4},{settings.PODS_V6}",
            f"--service-cluster-ip-range={settings.SERVICES}",
            f"--flex-volume-plugin-dir={layout.node}/volume-plugins",
            "--leader-elect=false",
        ),
        _answers("https://127.0.0.1:10257/healthz"),
    )


def scheduler(layout: Layout) -> Component:
    """The scheduler; alone, so no leader is elected."""
    return Component(
        "kube-scheduler",
        (
            str(layout.programs / "kube-scheduler"),
            f"--kubeconfig={settings.identity(layout, 'kube-scheduler')}",
            "--leader-elect=false",
        ),
        _answers("https://127.0.0.1:10259/healthz"),
    )


def kubelet(layout: Layout) -> Component:
    """The kubelet."""
    return Component(
        "kubelet",
        (
            str(layout.programs / "kubelet"),
            f"--kubeconfig={settings.identity(layout, 'kubelet')}",
            f"--config={settings.kubelet(layout)}",
            f"--root-dir={layout.node}/kubelet",
            f"--cert-dir={layout.node}/kubelet/pki",
            f"--hostname-override={settings.NODE_NAME}",
            f"--node-ip={network.NODE_V4},{network.NODE_V6}",
        ),
        _answers("http://127.0.0.1:10248/healthz"),
    )


def kube_proxy(layout: Layout) -> Component:
    """What makes services' addresses work."""
    argv = (str(layout.programs / "kube-proxy"), f"--config={settings.kube_proxy(layout)}")
    return Component("kube-proxy", argv, _answers("http://127.0.0.1:10256/healthz"))


# Everything but the delays, in the order of starting. Making one writes its settings.
MAKERS: dict[str, Callable[[Layout], Component]] = {
    "etcd": etcd,
    "containerd": containerd,
    "world-dns": world_dns,
    "kube-apiserver": api_server,
    "kube-controller-manager": controller_manager,
    "kube-scheduler": scheduler,
    "kubelet": kubelet,
    "kube-proxy": kube_proxy,
}


def _answers(url: str) -> Probe:
    """A probe that holds when the URL says 200. Whose certificate it is does not matter here."""
    tls = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls)

    def probe() -> bool:
        with contextlib.suppress(OSError), opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    return probe


def _listens(port: int) -> Probe:
    """A probe that holds when the port has a listener (proc(5), /proc/net/tcp: state 0A)."""

    def probe() -> bool:
        rows = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
        sockets = [(row.split()[1], row.split()[3]) for row in rows]
        return any(a.endswith(f":{port:04X}") and state == "0A" for a, state in sockets)

    return probe
