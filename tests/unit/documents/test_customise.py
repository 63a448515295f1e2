"""The example of a company's package works as docs/customise.md says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
EXAMPLE = CHECKOUT / "examples" / "acme-tow"


def run(*argv: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: each for name, each in os.environ.items() if not name.startswith("TOW_")}
    return subprocess.run(
        [str(each) for each in argv],
        cwd=folder,
        env={**clean, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def build(source: Path, folder: Path) -> Path:
    """The wheel of a project, made from a copy."""
    copy = folder / f"{source.name}-sources"
    kept = shutil.ignore_patterns(".*", "lab", "tests", "build", "docs", "benchmarks", "examples")
    shutil.copytree(source, copy, ignore=kept)
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", folder=copy)
    assert done.returncode == 0, done.stderr
    (wheel,) = (copy / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def tow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in a fresh environment with towline and the example, from no network.

    What towline depends on is that of the tests' own environment.
    """
    folder = tmp_path_factory.mktemp("acme")
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv, "the tests are run by uv"
    venv = folder / "venv"
    wheels = [build(CHECKOUT, folder), build(EXAMPLE, folder)]
    install = ("pip", "install", "--offline", "--no-deps", "--python", venv)
    for command in (("venv", "--offline", "--python", sys.executable, venv), (*install, *wheels)):
        done = run(uv, *command, folder=folder)
        assert done.returncode == 0, done.stderr
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return venv / "bin" / "tow"


def test_its_settings_count(tow: Path) -> None:
    shown = run(tow, "config", "show", "--output", "json", folder=tow.parents[2])
    assert (shown.returncode, shown.stderr) == (0, "")
    values = {each["key"]: each["value"] for each in json.loads(shown.stdout)}
    assert values["image"] == "mirror.acme.example/docker.io/library/python:3-slim"
    assert values["image-pull-secret"] == ["acme-pull"]
    assert values["exchange.strict"] is True
    assert {each["origin"]["layer"] for each in json.loads(shown.stdout)} == {"distribution"}


def test_its_help_and_support_are_told(tow: Path) -> None:
    told = run(tow, "--help", folder=tow.parents[2])
    assert told.stdout.count("acme-tow 1.0.0") == 1
    assert "acme login" in told.stdout
    failed = run(tow, "list", folder=tow.parents[2], KUBECONFIG=str(tow.parent / "none"))
    assert failed.returncode == 3
    assert failed.stderr.endswith("support: https://wiki.acme.example/tow, or #tow in the chat\n")


def test_its_namespaces_are_those_to_work_in(tow: Path) -> None:
    kubeconfig = tow.parent / "kube"
    config = {
        "clusters": [
            {"name": "c", "cluster": {"server": "https://c", "certificate-authority": "/none"}}
        ],
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "current-context": "c",
    }
    kubeconfig.write_text(json.dumps(config))
    where = {"folder": tow.parents[2], "KUBECONFIG": str(kubeconfig)}
    refused = run(tow, "list", "-n", "dev-payments", **where)
    assert refused.returncode == 5
    assert "acme-tow 1.0.0" in refused.stderr
    assert run(tow, "list", "-n", "dev-alice", **where).returncode == 3


def test_second_distribution_is_refused_with_both_names(tow: Path, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("SETTINGS = {}\n")
    metadata = tmp_path / "other-2.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 2.0\n")
    (metadata / "entry_points.txt").write_text("[towline.distribution]\nother = other:SETTINGS\n")
    path = {"folder": tow.parents[2], "PYTHONPATH": str(tmp_path)}
    refused = run(tow, "status", **path)
    assert refused.returncode == 2
    assert "acme-tow 1.0.0" in refused.stderr
    assert "other 2.0" in refused.stderr
    assert run(tow, "config", "show", **path).returncode == 2


@pytest.mark.parametrize(
    "name", ["pyproject.toml", "src/acme_tow/__init__.py", "src/acme_tow/settings.yaml"]
)
def test_document_shows_the_example_as_it_is(name: str) -> None:
    document = (CHECKOUT / "docs" / "customise.md").read_text()
    assert (EXAMPLE / name).read_text().strip() in document
