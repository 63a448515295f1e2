"""The lab's API server, as a user of the lab is known to it."""

from __future__ import annotations

import base64
import ssl
import tempfile

import yaml

from lab.cluster import Lab


def tls_context(lab: Lab, user: str) -> ssl.SSLContext:
    """For connections that are that user's, and to that server only."""
    config = yaml.safe_load(lab.kubeconfig(user).read_text())
    authority = _decoded(config["clusters"][0]["cluster"]["certificate-authority-data"])
    tls = ssl.create_default_context(cadata=authority)
    credentials = config["users"][0]["user"]
    with tempfile.NamedTemporaryFile("w") as pair:
        pair.write(_decoded(credentials["client-certificate-data"]))
        pair.write(_decoded(credentials["client-key-data"]))
        pair.flush()
        tls.load_cert_chain(pair.name)
    return tls


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
