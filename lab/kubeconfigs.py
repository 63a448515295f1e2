"""Kubeconfig files: whom they are for, and on which way they reach the API server."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from lab import network
from lab.layout import Layout
from lab.pki import Certificate


def server_url(rtt_ms: int = 0) -> str:
    """The API server's address, `rtt_ms` away."""
    port = network.DELAYED_API_PORT + rtt_ms if rtt_ms else network.API_PORT
    return f"https://{network.NODE_V4}:{port}"


def write(
    layout: Layout, target: Path, user: str, pair: Certificate, *, namespace: str = "default"
) -> Path:
    """Write the kubeconfig of a user with that certificate, with everything in it inline."""
    cluster = {
        "server": server_url(),
        "certificate-authority-data": _encoded((layout.pki / "ca.crt").read_text()),
    }
    credentials = {
        "client-certificate-data": _encoded(pair.certificate),
        "client-key-data": _encoded(pair.key),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [
            {"name": "lab", "context": {"cluster": "lab", "user": user, "namespace": namespace}}
        ],
        "current-context": "lab",
    }
    return _replace(target, yaml.safe_dump(config, sort_keys=False))


def delayed(original: Path, rtt_ms: int) -> Path:
    """A copy of the file whose API server is `rtt_ms` away."""
    config = yaml.safe_load(original.read_text())
    config["clusters"][0]["cluster"]["server"] = server_url(rtt_ms)
    target = original.parent / f"rtt-{rtt_ms}" / original.name
    return _replace(target, yaml.safe_dump(config, sort_keys=False))


def _replace(target: Path, text: str) -> Path:
    """Write so that a reader sees the old file or the new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_text(text)
    return fresh.replace(target)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
