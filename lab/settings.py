"""The configuration files of the node's programs.

Each file's name carries a digest of its content: a changed setting is a changed command line,
by which :mod:`lab.components` knows that a running program is out of date.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lab import kubeconfigs, network, pki, users
from lab.layout import Layout

PODS_V4, PODS_V6 = "10.244.0.0/16", "fd00:10:244::/56"
SERVICES = "10.96.0.0/16,fd00:10:96::/112"
CLUSTER_DNS = "10.96.0.10"
NODE_NAME = "node1"
PAUSE_IMAGE = "localhost/towline/pause:1"

# This node's share of the pods' ranges, as the controller manager assigns it to the first node.
_NODE_PODS_V4, _NODE_PODS_V6 = "10.244.0.0/24", "fd00:10:244::/64"
# The last of it that pods get, and an address each behind it, which is thus nobody's.
_LAST_POD_V4, _LAST_POD_V6 = "10.244.0.249", "fd00:10:244::ffff"
NOBODY_V4, NOBODY_V6 = "10.244.0.254", "fd00:10:244::1:ffff"


def containerd(layout: Layout) -> Path:
    """containerd's settings, and the pod network that it sets up through CNI.

    Where CAP_SYS_RESOURCE is missing, as in many containers, runc needs
    `restrict_oom_score_adj`. An AppArmor profile would be the whole machine's, and stay.
    """
    networks = _cni(layout).parent
    return _write(
        layout,
        "containerd.toml",
        f"""
version = 2
root = "{layout.node}/containerd"
state = "/run/containerd"
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{layout.node}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{networks}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
""",
    )


def kubelet(layout: Layout) -> Path:
    """The kubelet's settings."""
    resolver = _write(layout, "resolv.conf", f"nameserver {network.DNS_V4}\n")
    return _write_object(
        layout,
        "kubelet.yaml",
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{layout.title}",
            "failCgroupV1": False,
            "enforceNodeAllocatable": [],
            "localStorageCapacityIsolation": False,
            "evictionHard": {"memory.available": "100Mi"},
            "imageGCHighThresholdPercent": 100,
            "failSwapOn": False,
            "clusterDNS": [CLUSTER_DNS],
            "clusterDomain": "cluster.local",
            "resolvConf": str(resolver),
            "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
            "podLogsDir": str(layout.node / "pod-logs"),
            "volumePluginDir": str(layout.node / "volume-plugins"),
            "serializeImagePulls": False,
            "makeIPTablesUtilChains": False,
            "nodeStatusUpdateFrequency": "5s",
            "maxPods": 200,
        },
    )


def kube_proxy(layout: Layout) -> Path:
    """kube-proxy's settings."""
    return _write_object(
        layout,
        "kube-proxy.yaml",
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(identity(layout, "kube-proxy"))},
            "clusterCIDR": f"{PODS_V4},{PODS_V6}",
            "hostnameOverride": NODE_NAME,
            # The machine's limit on tracked connections is not the lab's to change.
            "conntrack": {"maxPerCore": 0},
        },
    )


def audit_policy(layout: Layout) -> Path:
    """What the API server's audit log holds: the requests of people, not of the cluster."""
    components = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
    return _write_object(
        layout,
        "audit.yaml",
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [
                {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts"]},
                {"level": "None", "users": [f"system:{name}" for name in components]},
                {"level": "None", "users": ["system:apiserver", "system:anonymous"]},
                {"level": "None", "users": [users.OBSERVER]},
                {"level": "Metadata"},
            ],
        },
    )


def identity(layout: Layout, component: str) -> Path:
    """A kubeconfig with the component's own identity, as Kubernetes' default roles know it."""
    target = layout.pki / f"{component}.yaml"
    if not target.exists():
        user, group = f"system:{component}", ""
        if component == "kubelet":
            user, group = f"system:node:{NODE_NAME}", "system:nodes"
        kubeconfigs.write(layout, target, user, pki.issue(layout, user, group=group))
    return target


def _cni(layout: Layout) -> Path:
    """A bridge for the pods, both families. Nothing is masqueraded: there is no outside."""
    ranges = [
        [{"subnet": _NODE_PODS_V4, "rangeEnd": _LAST_POD_V4}],
        [{"subnet": _NODE_PODS_V6, "rangeEnd": _LAST_POD_V6}],
    ]
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(layout.node / "addresses"),
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    }
    network_list = {"cniVersion": "0.4.0", "name": "lab", "plugins": [bridge]}
    target = layout.node / "cni" / "lab.conflist"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(network_list, indent=2))
    return target


def _write_object(layout: Layout, name: str, content: dict[str, Any]) -> Path:
    return _write(layout, name, json.dumps(content, indent=2))


def _write(layout: Layout, name: str, text: str) -> Path:
    stem, suffix = name.split(".", 1)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    target = layout.node / "etc" / f"{stem}-{digest}.{suffix}"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
    return target
