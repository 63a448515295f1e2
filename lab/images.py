"""Container images without a registry: one archive in Docker's format, made from files of
this machine and brought into the node's containerd.

`localhost/towline/python:3` is this machine's own Python, which the agent runs on,
`localhost/towline/sample:1` has the sample application on top of it, and
`localhost/towline/router:1` is Envoy, which `tow mesh` runs beside the agent.
See https://github.com/moby/docker-image-spec/blob/main/spec.md for the format.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import envoy, programs, progress, rootfs, settings
from lab.errors import LabError
from lab.layout import SOURCE, Layout, cache_root
from lab.locks import locked

PYTHON_IMAGE = "localhost/towline/python:3"
SAMPLE_IMAGE = "localhost/towline/sample:1"
ROUTER_IMAGE = "localhost/towline/router:1"
COREDNS_IMAGE = "localhost/towline/coredns:1"
#: What makes tow use them, for its environment.
FOR_TOW = {"TOW_IMAGE": PYTHON_IMAGE, "TOW_ROUTER_IMAGE": ROUTER_IMAGE}

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

_KEPT_ARCHIVES = 4

Layer = Callable[[tarfile.TarFile], None]


@dataclass(frozen=True, slots=True)
class Image:
    """A name, the layers from the bottom up, and what a container of it runs by default; by
    `entrypoint`, if it has that, what it is told to.
    """

    name: str
    layers: tuple[Layer, ...]
    command: tuple[str, ...]
    folder: str = "/"
    entrypoint: tuple[str, ...] = ()


IMAGES = (
    Image(settings.PAUSE_IMAGE, (rootfs.pause_layer,), ("/pause",)),
    Image(COREDNS_IMAGE, (rootfs.coredns_layer,), ("/coredns",)),
    Image(PYTHON_IMAGE, (rootfs.python_layer,), ("python3",)),
    Image(
        SAMPLE_IMAGE,
        (rootfs.python_layer, rootfs.sample_layer),
        ("python3", "-m", "sample"),
        folder="/opt",
    ),
    Image(ROUTER_IMAGE, (rootfs.envoy_layer,), ("envoy",)),
)


def archive() -> Path:
    """The archive with the images of every lab."""
    return archive_of("images", IMAGES, _digest())


def archive_of(folder: str, images: tuple[Image, ...], digest: str) -> Path:
    """The archive with some images, in a folder of the cache; made when there is none of that
    digest, of whatever goes into them.
    """
    target = cache_root() / folder / f"{digest}.tar"
    with locked(target.parent / "lock"):
        if not target.exists():
            with progress.counting("Making the images"):
                fresh = target.with_suffix(".new")
                _write(images, fresh)
                fresh.rename(target)
            _drop_older(target.parent)
    return target


def load(layout: Layout, source: Path) -> bool:
    """Bring the archive's images into the node's containerd, unless they are there.

    Returns whether they have taken the place of others.
    """
    done = layout.node / f"{source.parent.name}-loaded"
    before = done.read_text() if done.exists() else ""
    if before == source.name:
        return False
    argv = ["ctr", "-a", str(layout.containerd_socket), "-n", "k8s.io", "images", "import"]
    loaded = subprocess.run([*argv, str(source)], capture_output=True, text=True, check=False)
    if loaded.returncode != 0:
        raise LabError(f"The images could not be loaded: {loaded.stderr.strip()}")
    done.write_text(source.name)
    return bool(before)


def _digest() -> str:
    """Changes with whatever goes into the images, the machine's Python included."""
    version = subprocess.run([rootfs.PYTHON, "-VV"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(version)
    own = (Path(__file__), Path(rootfs.__file__), *sorted((SOURCE / "sample").glob("*.py")))
    for path in own:
        digest.update(path.read_bytes())
    for program in (programs.built("coredns"), programs.built("pause"), envoy.program()):
        digest.update(str(program).encode())
    return digest.hexdigest()[:16]


def _write(images: tuple[Image, ...], target: Path) -> None:
    layers = {layer: _pack(layer) for image in images for layer in image.layers}
    manifest: list[dict[str, Any]] = []
    written: set[str] = set()
    with tarfile.open(target, "w") as out:
        for image in images:
            names = []
            for content in (layers[layer] for layer in image.layers):
                name = f"{hashlib.sha256(content).hexdigest()}.tar"
                names.append(name)
                if name not in written:
                    _add(out, name, content)
                    written.add(name)
            config = json.dumps(_config(image, names)).encode()
            config_name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(out, config_name, config)
            manifest.append({"Config": config_name, "RepoTags": [image.name], "Layers": names})
        _add(out, "manifest.json", json.dumps(manifest).encode())


def _config(image: Image, layer_files: list[str]) -> dict[str, Any]:
    return {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
            "WorkingDir": image.folder,
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{name.removesuffix('.tar')}" for name in layer_files],
        },
    }


def _pack(layer: Layer) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as out:
        layer(out)
    return packed.getvalue()


def _add(out: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    out.addfile(info, io.BytesIO(content))


def _drop_older(folder: Path) -> None:
    """Keep the archives of a few recipes: other checkouts may have other ones."""
    archives = sorted(folder.glob("*.tar"), key=lambda path: path.stat().st_mtime)
    for path in archives[:-_KEPT_ARCHIVES]:
        path.unlink()
