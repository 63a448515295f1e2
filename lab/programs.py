"""Builds the node's Go programs, each once, into the cache.

A program's folder in the cache is named by the digest of its recipe, so a change of the recipe
is a build, and labs of several checkouts share what they have in common.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lab import progress, watched
from lab.errors import LabError
from lab.layout import SOURCE, Layout, cache_root
from lab.locks import locked
from lab.toolchain import OLDEST_GO, Go, find_go

KUBERNETES_VERSION = "v1.35.4"

_TRIES = 5
# A registry that says nothing for this long is asked anew; what has come is kept.
_STALL_SECONDS = 90
_VERSION_VARIABLE = "k8s.io/component-base/version.git"


@dataclass(frozen=True, slots=True)
class Program:
    """A Go program: the folder of its module, its package, and the names it is called by."""

    name: str
    package: str = "."
    called: tuple[str, ...] = ()
    linker_flags: str = ""
    # Of modules that it is built from, by their names: what is to be kept beside it.
    files: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    oldest_go: tuple[int, int] = field(default=OLDEST_GO, repr=False)

    @property
    def folder(self) -> Path:
        """Where go.mod is."""
        return SOURCE / "go" / self.name

    @property
    def built(self) -> Path:
        """Where the program is, once built."""
        digest = hashlib.sha256(repr(self).encode())
        if self.files:
            digest.update(repr(self.files).encode())
        for path in sorted(self.folder.iterdir()):
            digest.update(path.read_bytes())
        return cache_root() / "programs" / f"{self.name}-{digest.hexdigest()[:12]}" / self.name


_MAJOR, _MINOR = KUBERNETES_VERSION.removeprefix("v").split(".")[:2]

PROGRAMS = (
    Program("pause"),
    Program("etcd", package="go.etcd.io/etcd/server/v3"),
    Program("coredns"),
    Program(
        "kubernetes",
        called=(
            "kube-apiserver",
            "kube-controller-manager",
            "kube-proxy",
            "kube-scheduler",
            "kubectl",
            "kubelet",
        ),
        linker_flags=(
            f"-X {_VERSION_VARIABLE}Version={KUBERNETES_VERSION}"
            f" -X {_VERSION_VARIABLE}Major={_MAJOR} -X {_VERSION_VARIABLE}Minor={_MINOR}"
        ),
    ),
)

# No part of every lab: what benchmarks ask.
ORIGIN = Program("origin")

# Nor is what tests look names up with.
LOOKUP = Program("lookup")

# Nor is this: see :mod:`lab.istio`.
ISTIO = Program(
    "istio",
    files=tuple(
        ("istio.io/istio", path)
        for path in (
            "manifests/charts/base/files/crd-all.gen.yaml",
            "manifests/charts/istio-control/istio-discovery/files/injection-template.yaml",
            "manifests/charts/istio-control/istio-discovery/values.yaml",
            "tools/packaging/common/envoy_bootstrap.json",
        )
    ),
    oldest_go=(1, 26),
)


def built(name: str) -> Path:
    """Where the program of that name is, once built."""
    return next(program.built for program in (*PROGRAMS, ISTIO) if program.name == name)


def ensure_built(wanted: Iterable[Program] = PROGRAMS) -> None:
    """Build what is not in the cache."""
    missing = [program for program in wanted if not program.built.exists()]
    if not missing:
        return
    for program in missing:
        go = find_go(program.oldest_go)
        busy = f"Another lab is building {program.name}; waiting for it."
        with locked(program.built.parent.with_suffix(".lock"), busy):
            if not program.built.exists():
                _build(go, program)


def link(layout: Layout) -> None:
    """Put links to the programs into the lab's own folder, under the names they are called by."""
    layout.programs.mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        for name in program.called or (program.name,):
            fresh = layout.programs / f".{name}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(program.built)
            fresh.replace(layout.programs / name)


def _build(go: Go, program: Program) -> None:
    packages = _download(go, program)
    target = program.built
    fresh = target.parent.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    argv = [
        *(str(go.command), "build", "-v", "-trimpath"),
        *("-ldflags", f"-s -w {program.linker_flags}".strip()),
        *("-o", str(fresh / program.name), program.package),
    ]
    with progress.counting(f"Building {program.name}") as counter:
        watched.run(
            argv,
            folder=program.folder,
            environment=go.environment,
            on_lines=lambda n: counter.update(f"{n} packages compiled, of {packages} at most"),
        )
    for module, path in program.files:
        shutil.copy(_folder_of(go, program, module) / path, fresh)
    fresh.rename(target.parent)


def _folder_of(go: Go, program: Program, module: str) -> Path:
    """Where the sources of a module are, which have been downloaded."""
    found = subprocess.run(
        [str(go.command), "list", "-m", "-f", "{{.Dir}}", module],
        cwd=program.folder,
        env=go.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(found.stdout.strip())


def _download(go: Go, program: Program) -> int:
    """Download the modules that the program consists of; returns the number of its packages."""
    with progress.counting(f"Getting the sources of {program.name}") as counter:
        for _ in range(_TRIES):
            try:
                listed = watched.run(
                    [str(go.command), "list", "-deps", program.package],
                    folder=program.folder,
                    environment=go.environment,
                    on_lines=lambda n: counter.update(f"{n} modules downloaded"),
                    stall_seconds=_STALL_SECONDS,
                )
            except (TimeoutError, LabError) as error:
                progress.say(f"{error} Trying again.")
                continue
            return listed.count("\n")
    raise LabError(f"The sources of {program.name} could not be downloaded; what came is kept.")
