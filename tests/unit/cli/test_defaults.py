"""Settings as the defaults of commands, under the real command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from towline.cli import main as cli
from towline.cli.commands import COMMANDS

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without settings, in a work tree."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    for folder in ("xdg/towline/profiles", "tree/.git"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "tree")
    return tmp_path


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Gives what a command is called with."""

    def run(*arguments: str, **environ: str) -> dict[str, Any]:
        context = click.Context(cli.main)
        command = cli.main.get_command(context, next(a for a in arguments if a in COMMANDS))
        assert command is not None
        called: dict[str, Any] = {}
        monkeypatch.setattr(command, "callback", lambda **chosen: called.update(chosen))
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        cli.main.main(list(arguments), standalone_mode=False)
        return called

    return run


def user(home: Path, text: str) -> None:
    (home / "xdg/towline/config.yaml").write_text(text)


def team(home: Path, text: str) -> None:
    (home / "tree/.towline.yaml").write_text(text)


def test_command_is_called_with_what_files_say(home: Path, run: Run) -> None:
    team(home, "namespace: shop\nexchange:\n  expose: ['8080:80', '9090']\n")
    user(home, "image: reg.example/py\ntimeout: 7\nexchange:\n  strict: yes\n")
    called = run("exchange", "web")
    assert called["namespace"] == "shop"
    assert called["exposed"] == ("8080:80", "9090")
    assert (called["image"], called["timeout"], called["strict"]) == ("reg.example/py", 7.0, True)
    assert called["grace"] == 60


def test_flag_counts_more_than_all_else(home: Path, run: Run) -> None:
    user(home, "grace: 5\nexpose: 80\nexchange:\n  strict: true\n")
    called = run(
        *("exchange", "web", "--grace", "9", "--expose", "1", "--expose", "2", "--no-strict"),
        TOW_GRACE="6",
        TOW_EXCHANGE_STRICT="true",
    )
    assert (called["grace"], called["exposed"], called["strict"]) == (9, ("1", "2"), False)


def test_environment_counts_more_than_files_and_the_command_more_than_all(
    home: Path, run: Run
) -> None:
    user(home, "exchange:\n  grace: 5\n")
    assert run("exchange", "web", TOW_GRACE="6")["grace"] == 6
    assert run("exchange", "web", TOW_GRACE="6", TOW_EXCHANGE_GRACE="7")["grace"] == 7
    assert run("mirror", "web")["grace"] == 6


def test_environment_turns_off_and_gives_several(home: Path, run: Run) -> None:
    user(home, "exchange:\n  strict: true\n")
    called = run("exchange", "web", TOW_STRICT="no", TOW_EXPOSE="8080:80 9090")
    assert (called["strict"], called["exposed"]) == (False, ("8080:80", "9090"))


def test_setting_is_enough_for_an_option_that_is_required(home: Path, run: Run) -> None:
    user(home, "preview:\n  expose: 8080:80\n")
    assert run("preview", "mine")["exposed"] == ("8080:80",)


def test_option_that_is_read_by_a_callback_is_read_once(home: Path, run: Run) -> None:
    user(home, "older-than: 90s\n")
    assert run("clean")["older_than"].total_seconds() == 90


def test_option_whose_parameter_has_another_name_is_set(home: Path, run: Run) -> None:
    user(home, "disconnect:\n  all: true\n")
    assert run("disconnect")["everything"] is True


def test_every_switch_that_can_be_set_can_be_turned_off() -> None:
    for name in COMMANDS:
        command = cli.main.get_command(click.Context(cli.main), name)
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option) and option.is_flag and name != "config":
                assert option.secondary_opts, f"{name} {option.opts}"


def test_profile_is_chosen_for_once(home: Path, run: Run) -> None:
    (home / "xdg/towline/profiles/dev.yaml").write_text("namespace: dev\n")
    (home / "xdg/towline/profiles/test.yaml").write_text("namespace: test\n")
    user(home, "namespace: mine\nprofile: dev\n")
    assert run("connect")["namespace"] == "dev"
    assert run("--profile", "test", "connect")["namespace"] == "test"
    assert run("--profile", "none", "connect")["namespace"] == "mine"
    assert run("connect", TOW_PROFILE="test")["namespace"] == "test"


def invoke(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as caught:
        cli.run(list(arguments))
    told = capsys.readouterr()
    return caught.value.code, told.out, told.err


def test_broken_file_stops_a_command_before_it_is_looked_at(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user(home, "preview:\n  exposse: 80\n")
    code, out, err = invoke("preview", "mine", capsys=capsys)
    assert (code, out) == (2, "")
    assert f"{home}/xdg/towline/config.yaml:2: 'tow preview' has no option 'exposse'." in err
    assert "Did you mean 'expose'?" in err


def test_broken_file_stops_no_help_and_no_completion(home: Path) -> None:
    user(home, "nonsense: 1\n")
    for arguments in (["--help"], ["connect", "--help"], ["completion", "bash"]):
        assert CliRunner().invoke(cli.main, arguments).exit_code == 0


def test_help_shows_what_is_set(home: Path) -> None:
    user(home, "grace: 7\n")
    assert "default: 7;" in CliRunner().invoke(cli.main, ["connect", "--help"]).output


def test_program_may_ask_for_its_help_when_a_file_is_broken(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The --help behind -- is not ours, so the file counts."""
    user(home, "nonsense: 1\n")
    code, _, err = invoke("exchange", "web", "--", "./serve", "--help", capsys=capsys)
    assert code == 2
    assert "nonsense" in err


@pytest.mark.parametrize("arguments", [["list"], ["list", "-n", "prod"], ["recover", "web"]])
def test_namespace_that_the_distribution_refuses_is_refused(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    machine = home / "etc.yaml"
    machine.write_text("namespaces:\n  allowed: ['dev-*']\n")
    monkeypatch.setattr("towline.settings.places.MACHINE", machine)
    cluster = {"server": "https://c", "certificate-authority": "/none"}
    server = {"clusters": [{"name": "c", "cluster": cluster}]}
    context = {"contexts": [{"name": "c", "context": {"cluster": "c"}}], "current-context": "c"}
    (home / "kube").write_text(json.dumps({**server, **context}))
    monkeypatch.setenv("TOW_KUBECONFIG", str(home / "kube"))
    code, _, err = invoke(*arguments, capsys=capsys)
    assert code == 5
    assert f"says {machine}" in err
    assert "dev-*" in err
    code, _, _ = invoke("list", "-n", "dev-alice", capsys=capsys)
    assert code == 3, "then the cluster was to be asked"
    assert invoke("list", "-A", capsys=capsys)[0] == 3


def test_no_command_passes_the_distribution_by() -> None:
    folder = Path(cli.__file__).parent
    direct = {
        path.name for path in folder.rglob("*.py") if "import load_access" in path.read_text()
    }
    assert direct <= {"access.py", "offers.py"}, "use permitted_access instead of load_access"
