import socket
import subprocess
import sys
from pathlib import Path

import pytest

from towline.cluster import bundle


def test_command_fits_one_argument_and_is_the_same_each_time() -> None:
    first = bundle.command()
    bundle.command.cache_clear()
    bundle._packed.cache_clear()
    assert first == bundle.command()
    assert all(len(part) < bundle.ARGUMENT_LIMIT_BYTES for part in first)


def test_command_runs_the_agent_without_this_package() -> None:
    python = [sys.executable, "-I", "-S", *bundle.command()[1:]]
    run = subprocess.run([*python, "--help"], capture_output=True, text=True, check=True)
    assert "--grace-seconds" in run.stdout


def test_where_there_is_no_memfd_no_file_is_left(tmp_path: Path) -> None:
    _, _, loader, *rest = bundle.command()
    without = f"import os; del os.memfd_create\n{loader}"
    run = subprocess.run(
        [sys.executable, "-ISc", without, *rest, "--help"],
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--grace-seconds" in run.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("grace", ["0.1"])
def test_agent_without_a_client_ends_after_the_grace_time(grace: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    python = [sys.executable, "-I", "-S", *bundle.command()[1:]]
    run = subprocess.run(
        [*python, f"--port={port}", f"--grace-seconds={grace}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_archive_holds_no_compiled_files() -> None:
    assert b"__pycache__" not in bundle._archive()


def test_command_has_nothing_that_kubernetes_would_expand() -> None:
    assert not any("$" in part for part in bundle.command())
