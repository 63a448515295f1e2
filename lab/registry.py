"""A registry that wants a password, on the node's loopback, with an image that no node has yet.

As much of https://github.com/opencontainers/distribution-spec/blob/main/spec.md as pulling takes.
containerd speaks plain HTTP to registries on localhost. It takes layers that it has from wherever:
one layer of the image is new each time, so that it has to come from here.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lab import images, namespaces
from lab.layout import Layout

USER = "puller"
_REPOSITORY = "corp/python"
_TAG = "3"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_HOLD_SECONDS = 60.0


class Registry:
    """`image` is what to pull, with `password`. Until `open` is set it keeps who may wait.

    `served` are the digests of what was given away.
    """

    def __init__(self, port: int, base: str) -> None:
        self.address = f"127.0.0.1:{port}"
        self.image = f"{self.address}/{_REPOSITORY}:{_TAG}"
        self.password = secrets.token_hex(8)
        self.open = threading.Event()
        self.served: set[str] = set()
        self._blobs: dict[str, bytes] = {}
        self._manifest = self._make(base)
        self.new_layer = self._manifest["layers"][-1]["digest"]

    def pull_secret(self, name: str, namespace: str) -> dict[str, Any]:
        """A Secret with which nodes may pull."""
        auths = {"auths": {self.address: {"auth": self._auth}}}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": {".dockerconfigjson": json.dumps(auths)},
        }

    def admits(self, header: str | None) -> bool:
        """Whether a request with that Authorization may pull."""
        return header == f"Basic {self._auth}"

    def find(self, path: str) -> tuple[str, bytes] | None:
        """The type and content of what a path of the API stands for."""
        if path == "/v2/":
            return "application/json", b"{}"
        kind, _, reference = path.removeprefix(f"/v2/{_REPOSITORY}/").partition("/")
        manifest = json.dumps(self._manifest).encode()
        if kind == "manifests" and reference in (_TAG, _digest(manifest)):
            self.open.wait(_HOLD_SECONDS)
            return _MANIFEST, manifest
        if kind == "blobs" and reference in self._blobs:
            self.served.add(reference)
            return "application/octet-stream", self._blobs[reference]
        return None

    @property
    def _auth(self) -> str:
        return base64.b64encode(f"{USER}:{self.password}".encode()).decode()

    def _make(self, base: str) -> dict[str, Any]:
        """The manifest of an image of the lab with one layer more."""
        with tarfile.open(images.archive()) as archive:

            def read(name: str) -> bytes:
                file = archive.extractfile(name)
                assert file is not None
                return file.read()

            listed = json.loads(read("manifest.json"))
            (image,) = [each for each in listed if each["RepoTags"] == [base]]
            config = json.loads(read(image["Config"]))
            layers = [*map(read, image["Layers"]), _new_layer()]
        config["rootfs"]["diff_ids"] = [_digest(layer) for layer in layers]
        return {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._keep(_CONFIG, json.dumps(config).encode()),
            "layers": [self._keep(_LAYER, layer) for layer in layers],
        }

    def _keep(self, kind: str, content: bytes) -> dict[str, Any]:
        digest = _digest(content)
        self._blobs[digest] = content
        return {"mediaType": kind, "digest": digest, "size": len(content)}


@contextmanager
def serving(layout: Layout, base: str = images.PYTHON_IMAGE) -> Iterator[Registry]:
    """A registry on the node meanwhile, with an image made of `base`."""

    def listen() -> socket.socket:
        return socket.create_server(("127.0.0.1", 0), backlog=16)

    listening = namespaces.call_inside(layout.node_net, listen)
    made = Registry(listening.getsockname()[1], base)
    server = ThreadingHTTPServer(("", 0), _handler(made), bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.open.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer a request that may be answered."""
            if not registry.admits(self.headers.get("Authorization")):
                self._answer(401, "application/json", b"{}")
            elif found := registry.find(self.path):
                self._answer(200, *found)
            else:
                self._answer(404, "application/json", b"{}")

        do_HEAD = do_GET  # noqa: N815 (as http.server calls it)

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Content-Digest", _digest(content))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="lab"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    return Handler


def _new_layer() -> bytes:
    packed, text = io.BytesIO(), secrets.token_bytes(16)
    with tarfile.open(fileobj=packed, mode="w") as out:
        info = tarfile.TarInfo("etc/of-the-registry")
        info.size = len(text)
        out.addfile(info, io.BytesIO(text))
    return packed.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
