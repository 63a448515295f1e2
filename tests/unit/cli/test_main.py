import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from towline.cli import main as cli
from towline.cli.commands import COMMANDS
from towline.cli.output import INTERNAL_ERROR, JsonNarrator, TextNarrator, coloured
from towline.errors import AgentError, TowlineError, leading_error


def tow(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "towline", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(cli.main, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def commands(ctx: click.Context) -> Iterator[click.Context]:
    """Every command there is, however deep."""
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            below = ctx.command.get_command(ctx, name)
            assert below is not None
            yield from commands(click.Context(below, info_name=name, parent=ctx))


@pytest.mark.parametrize(
    "ctx",
    list(commands(click.Context(cli.main, info_name="tow", **cli.main.context_settings))),
    ids=lambda ctx: ctx.command_path,
)
def test_help_begins_with_examples_of_the_command(ctx: click.Context) -> None:
    first, *lines = ctx.get_help().partition("\n\n")[0].splitlines()
    assert first == "Examples:"
    assert lines
    assert all(ctx.command_path in line for line in lines)


def imports(code: str, *names: str) -> bool:
    """Whether a program of its own imports one of these modules."""
    code = f"import sys; {code}; sys.exit(any(name in sys.modules for name in {names!r}))"
    nobody = {**os.environ, "HOME": "/nonexistent", "XDG_CONFIG_HOME": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env=nobody, cwd="/", stdout=subprocess.DEVNULL
    )
    return done.returncode != 0


def test_help_imports_no_command() -> None:
    code = "from towline.cli.main import main; main(['--help'], standalone_mode=False)"
    assert not imports(code, "aiohttp", "asyncio", "rich", "yaml")


def test_what_can_be_set_is_known_without_what_asks_the_cluster() -> None:
    assert not imports("from towline.cli.schema import schema; schema()", "aiohttp", "rich")


def test_status_imports_nothing_of_a_cluster() -> None:
    code = "from towline.cli.main import main; main(['status'], standalone_mode=False)"
    assert not imports(code, "aiohttp", "towline.kube", "towline.agent")


def test_unknown_command_names_the_nearest_one() -> None:
    result = tow("conect")
    assert result.returncode == 2
    assert "'connect'" in result.stderr


def test_missing_kubeconfig_is_an_error_with_a_hint_and_its_exit_code(tmp_path: Path) -> None:
    result = tow("connect", KUBECONFIG=str(tmp_path / "none"), HOME=str(tmp_path))
    assert result.returncode == 3
    assert result.stderr.startswith("error: ")
    assert "hint:" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_error_is_an_event_for_machines(tmp_path: Path) -> None:
    kubeconfig = str(tmp_path / "none")
    result = tow("connect", "-o", "json", KUBECONFIG=kubeconfig, HOME=str(tmp_path))
    event = json.loads(result.stdout)
    assert event["event"] == "error"
    assert event["exit_code"] == result.returncode == 3


def test_mistake_of_ours_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ExceptionGroup("several", [ExceptionGroup("more", [ZeroDivisionError("oops")])])

    monkeypatch.setattr(cli.main, "main", broken)
    with pytest.raises(SystemExit) as caught:
        cli.run([])
    assert caught.value.code == INTERNAL_ERROR
    told = capsys.readouterr().err
    assert "ZeroDivisionError: oops" in told
    assert "Traceback" not in told


def test_leading_error_is_found_in_nested_groups() -> None:
    wanted = AgentError("first")
    group = BaseExceptionGroup(
        "", [ValueError(), ExceptionGroup("", [wanted]), TowlineError("second")]
    )
    assert leading_error(group) is wanted
    assert leading_error(ExceptionGroup("", [ValueError()])) is None


def test_json_narrator_writes_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    tell = JsonNarrator()
    tell.progress("a\nb")
    tell.event("ready", "up", pid=7)
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == {"event": "progress", "message": "a\nb"}
    assert json.loads(second) == {"event": "ready", "message": "up", "pid": 7}


def test_text_narrator_says_events_on_stdout_and_no_quick_progress(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell = TextNarrator()
    tell.progress("a step that is over at once")
    tell.event("ready", "up", pid=7)
    told = capsys.readouterr()
    assert told.out == "up\n"
    assert told.err == ""


def test_colours_are_only_for_terminals_and_those_who_want_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(Terminal())
